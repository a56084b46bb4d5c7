"""What each client may use of a queue that is filling up."""

from collections import Counter

from aserve.http.subscribers import NO_ADDRESS, subscriber_of

_SHARES = 32  # parts of the free space, of which one client may use one


class ClientShares:
    """The share of the queue's free space that each client may use once the queue is half full.

    It is a fraction of the free space, so that a few hundred addresses cannot fill it for all
    others. max_queued: bytes that the queue holds at most.
    """

    def __init__(self, max_queued: int) -> None:
        self._max_queued = max_queued
        self._by_client: Counter[str | bytes] = Counter()
        self._until = 0

    def take(self, client: str, size: int, free: int) -> bool:
        """Use size bytes of a client's share of the free bytes; return False if it has fewer."""
        if client == NO_ADDRESS:
            return size <= free
        key = subscriber_of(client)
        if (self._by_client[key] + size) * _SHARES > free:
            return False
        self._by_client[key] += size
        return True

    def reset(self, written: int) -> None:
        """Reset all shares once everything that was queued at the last reset has been written."""
        if written >= self._until:
            self._until = written + self._max_queued
            # A new one: another thread may still count in the old one.
            self._by_client = Counter()
