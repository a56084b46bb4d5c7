"""HTTP/1.1 on a byte stream (RFC 9112), without I/O: bytes in, requests out."""
