"""Which responses are worth a place in the cache."""


class Doorkeeper:
    """Counts recent requests: a response is admitted when requested again. A scan never is.

    max_count: how many different ones are remembered, and as many of before those.
    """

    __slots__ = ("_before", "_max_count", "_now")

    def __init__(self, max_count: int) -> None:
        self._max_count = max_count
        self._now: dict[int, int] = {}
        self._before: dict[int, int] = {}

    def count(self, key_hash: int) -> int:
        """Return how often a hash was counted not long ago, this time included."""
        if len(self._now) >= self._max_count:
            self._now, self._before = {}, self._now
        count = self._now[key_hash] = self._now.get(key_hash, 0) + 1
        return count + self._before.get(key_hash, 0)
