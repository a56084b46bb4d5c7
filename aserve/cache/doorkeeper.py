"""Which responses are worth a place in the cache."""

MIN_COUNT = 2
"""How often something must be requested before it can be worth a place."""

_MIN_COUNT_WHEN_FULL = 4  # or many responses that are rarely requested would evict each other


class Doorkeeper:
    """Counts recent requests: a response is admitted when requested again. A scan never is.

    max_count: how many different ones are remembered, and as many of before those.
    """

    __slots__ = ("_admitted", "_before", "_max_count", "_now")

    def __init__(self, max_count: int) -> None:
        self._max_count = max_count
        self._now: dict[int, int] = {}
        self._before: dict[int, int] = {}
        self._admitted: set[int] = set()  # in this second, and not stored since

    def count(self, key_hash: int) -> int:
        """Return how often a hash was counted not long ago, this time included."""
        if len(self._now) >= self._max_count:
            self._now, self._before = {}, self._now
        count = self._now[key_hash] = self._now.get(key_hash, 0) + 1
        before = self._before
        return count + before[key_hash] if key_hash in before else count

    def admits(self, key_hash: int, count: int, *, is_full: bool) -> bool:
        """Tell whether to try to store a response now. count: of its requests, as count() returns.

        It is worth it if the response was requested before, not long ago. For one that cannot be
        stored, one try a second is enough.
        """
        min_count = _MIN_COUNT_WHEN_FULL if is_full else MIN_COUNT
        if count < min_count or key_hash in self._admitted:
            return False
        self._admitted.add(key_hash)
        return True

    def on_stored(self, key_hash: int) -> None:
        """Note that a response was stored: if it is evicted, it may be stored again at once."""
        self._admitted.discard(key_hash)

    def tick(self) -> None:
        """Note that a second has passed."""
        self._admitted.clear()
