"""The event loop: uvloop where it is available, else the standard library's."""

import asyncio

try:
    import uvloop
except ImportError:
    uvloop = None  # type: ignore[assignment]

USES_FALLBACK = uvloop is None
"""Whether uvloop is missing, so that the standard library's slower loop is used."""


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop, the fastest available."""
    return uvloop.new_event_loop() if uvloop else asyncio.new_event_loop()


def standard_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop of the standard library."""
    return asyncio.new_event_loop()
