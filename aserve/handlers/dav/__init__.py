"""What WebDAV adds to HTTP (RFC 4918), as far as it reads."""
