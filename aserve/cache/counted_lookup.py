"""Cached responses for a client whose requests are counted."""

from collections.abc import Callable

from aserve.cache.cached_response import CacheHit, HeadLookup
from aserve.http.messages import Request


class CountedLookup:
    """Finds cached responses, and none for a request that is one too many.

    count: counts a request of the client at a POSIX time; true if it is too many. That one is
    looked up in vain, and counted again when it is parsed, which finds the same.
    """

    __slots__ = ("_client", "_count", "_lookup")

    def __init__(
        self, lookup: HeadLookup, count: Callable[[Request, str, float], object], client: str
    ) -> None:
        self._lookup = lookup.lookup_head
        self._count = count
        self._client = client

    def lookup_head(self, head: bytes, now: float) -> CacheHit | None:
        """Return the valid response to exactly this head, if the client may have one now."""
        hit = self._lookup(head, now)
        return None if hit is None or self._count(hit[1], self._client, now) else hit
