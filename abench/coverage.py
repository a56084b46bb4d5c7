"""When a server was answering, and so when it was silent, for as long as a run may last."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

FINEST_GAP_MS = 100
MAX_STRETCHES = 500  # then longer gaps are closed as well: a week takes as much memory as a minute

Stretch = tuple[int, int]


@dataclass
class Coverage:
    """Stretches of milliseconds from the start of a run, in order, with gaps between them.

    Gaps of less than `gap_ms` are closed. Stretches of several workers unite: what is left as a
    gap is one for all of them.
    """

    gap_ms: int = FINEST_GAP_MS
    stretches: list[Stretch] = field(default_factory=list)

    def add(self, begin_ms: int, end_ms: int) -> None:
        """Cover a stretch that begins no earlier than any before it."""
        if self.stretches and begin_ms - self.stretches[-1][1] < self.gap_ms:
            begin, end = self.stretches.pop()
            begin_ms, end_ms = min(begin, begin_ms), max(end, end_ms)
        self.stretches.append((begin_ms, end_ms))

    def merge(self, other: "Coverage") -> None:
        """Cover what another part of the same run covers. The order makes no difference."""
        self.gap_ms = max(self.gap_ms, other.gap_ms)
        self._unite(sorted(self.stretches + other.stretches))
        while len(self.stretches) > MAX_STRETCHES:
            self.gap_ms *= 2
            self._unite(self.stretches)

    def longest_gap(self, until_ms: int) -> Stretch:
        """Return the longest stretch that is not covered, from the start of the run to its end."""
        ends = [0, *(end for _, end in self.stretches)]
        begins = [*(begin for begin, _ in self.stretches), until_ms]
        gaps = [(end, max(begin, end)) for end, begin in zip(ends, begins, strict=True)]
        return max(gaps, key=lambda gap: gap[1] - gap[0])

    def encode(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"gap_ms": self.gap_ms, "stretches": self.stretches}

    @classmethod
    def decode(cls, plain: Mapping[str, Any]) -> "Coverage":
        """Undo `encode`."""
        return cls(plain["gap_ms"], [(begin, end) for begin, end in plain["stretches"]])

    def _unite(self, stretches: Iterable[Stretch]) -> None:
        self.stretches, before = [], stretches
        for begin_ms, end_ms in before:
            self.add(begin_ms, end_ms)
