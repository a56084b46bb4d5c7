"""The rows, one module per part."""
