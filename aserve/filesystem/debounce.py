"""When a burst of changes is over: one save of an editor, or one build, is one update."""

QUIET = 0.05
"""Seconds without a change after which a burst is over."""

_LONGEST = 1.0  # seconds: a file that is written all the time must not hold back all others


class Debounce:
    """Tells when changes have been quiet for a while. Its callers pass the time, in seconds."""

    def __init__(self, quiet: float = QUIET, longest: float = _LONGEST) -> None:
        self._quiet = quiet
        self._longest = longest
        self._first = self._last = 0.0
        self.is_pending = False
        """Whether there were changes since the last reset."""

    def note(self, now: float) -> None:
        """Note that something has changed."""
        if not self.is_pending:
            self._first = now
        self._last, self.is_pending = now, True

    def remaining(self, now: float) -> float | None:
        """Return the seconds until the burst counts as over, 0 if it does; None without one."""
        if not self.is_pending:
            return None
        return max(0.0, min(self._last + self._quiet, self._first + self._longest) - now)

    def reset(self) -> None:
        """Begin anew: the burst was dealt with."""
        self.is_pending = False
