"""Compression on the fly, aserve's beside that of other servers."""
