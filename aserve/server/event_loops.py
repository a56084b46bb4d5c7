"""The event loop: uvloop's where it can be had, else the standard library's."""

import asyncio

try:
    import uvloop
except ImportError:
    uvloop = None  # type: ignore[assignment]

USES_FALLBACK = uvloop is None
"""Whether the standard library's loop serves, more slowly, for want of uvloop."""


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a fresh loop, the fastest there is."""
    return uvloop.new_event_loop() if uvloop else asyncio.new_event_loop()


def standard_event_loop() -> asyncio.AbstractEventLoop:
    """Return a fresh loop of the standard library's."""
    return asyncio.new_event_loop()
