"""The default model: asyncio transports on uvloop, and a bounded thread pool."""
