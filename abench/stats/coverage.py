"""When a server was answering, and so when it was silent, for as long as a run may last."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MIN_GAP_MS = 100
MAX_INTERVALS = 500  # then longer gaps are closed as well: a week takes as much memory as a minute

Interval = tuple[int, int]


@dataclass
class Coverage:
    """Stretches of milliseconds from the start of a run, in order, with gaps between them.

    Gaps of less than `gap_ms` are closed. Stretches of several workers unite: what is left as a
    gap is one for all of them.
    """

    gap_ms: int = MIN_GAP_MS
    intervals: list[Interval] = field(default_factory=list)

    def add(self, begin_ms: int, end_ms: int) -> None:
        """Cover a stretch that begins no earlier than any before it."""
        if self.intervals and begin_ms - self.intervals[-1][1] < self.gap_ms:
            begin, end = self.intervals.pop()
            begin_ms, end_ms = min(begin, begin_ms), max(end, end_ms)
        self.intervals.append((begin_ms, end_ms))

    def merge(self, other: "Coverage") -> None:
        """Cover what another part of the same run covers. The order makes no difference."""
        self.gap_ms = max(self.gap_ms, other.gap_ms)
        self._unite(sorted(self.intervals + other.intervals))
        while len(self.intervals) > MAX_INTERVALS:
            self.gap_ms *= 2
            self._unite(self.intervals)

    def longest_gap(self, until_ms: int) -> Interval:
        """Return the longest stretch that is not covered, from the start of the run to its end."""
        ends = [0, *(end for _, end in self.intervals)]
        begins = [*(begin for begin, _ in self.intervals), until_ms]
        gaps = [(end, max(begin, end)) for end, begin in zip(ends, begins, strict=True)]
        return max(gaps, key=lambda gap: gap[1] - gap[0])

    def encode(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"gap_ms": self.gap_ms, "intervals": self.intervals}

    @classmethod
    def decode(cls, plain: Mapping[str, Any]) -> "Coverage":
        """Undo `encode`."""
        return cls(plain["gap_ms"], [(begin, end) for begin, end in plain["intervals"]])

    def _unite(self, stretches: Iterable[Interval]) -> None:
        self.intervals, before = [], stretches
        for begin_ms, end_ms in before:
            self.add(begin_ms, end_ms)
