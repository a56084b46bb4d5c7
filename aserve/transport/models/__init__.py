"""The I/O models that teach: one file for each, over the same connection."""
