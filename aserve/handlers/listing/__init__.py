"""The listing of a directory: what was asked for, what is in it, and its forms."""
