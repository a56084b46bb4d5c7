"""aserve: an asyncio-native HTTP/1.1 static file server."""

__version__ = "0.1.0"
