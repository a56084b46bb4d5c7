"""Content codings, and the compressed siblings that are written ahead of time."""
