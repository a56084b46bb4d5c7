"""How octets move: each I/O model is one file over wire and site."""
