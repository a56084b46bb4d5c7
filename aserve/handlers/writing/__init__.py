"""Requests that change files: PUT, DELETE, MKCOL, forms."""
