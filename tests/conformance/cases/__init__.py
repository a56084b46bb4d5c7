"""The rows, one module for each part."""
