"""Request handlers: from a request to its response."""
