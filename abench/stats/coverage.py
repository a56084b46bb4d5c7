"""When a server was responding, and so when it was silent, in bounded memory."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MIN_GAP_MS = 100
MAX_SPANS = 500  # then longer gaps are closed: a week takes as much memory as a minute

Span = tuple[int, int]


@dataclass
class Coverage:
    """Spans in milliseconds from the start of the run, in order, with gaps between them.

    Gaps shorter than `gap_ms` are closed. The spans of several workers are united: a remaining
    gap is a gap of all of them.
    """

    gap_ms: int = MIN_GAP_MS
    spans: list[Span] = field(default_factory=list)

    def add(self, begin_ms: int, end_ms: int) -> None:
        """Cover a span that begins no earlier than any added before."""
        if self.spans and begin_ms - self.spans[-1][1] < self.gap_ms:
            begin, end = self.spans.pop()
            begin_ms, end_ms = min(begin, begin_ms), max(end, end_ms)
        self.spans.append((begin_ms, end_ms))

    def merge(self, other: "Coverage") -> None:
        """Add the spans of another part of the same run. The order makes no difference."""
        self.gap_ms = max(self.gap_ms, other.gap_ms)
        self._unite(sorted(self.spans + other.spans))
        while len(self.spans) > MAX_SPANS:
            self.gap_ms *= 2
            self._unite(self.spans)

    def longest_gap(self, until_ms: int) -> Span:
        """Return the longest gap between the start of the run and `until_ms`."""
        ends = [0, *(end for _, end in self.spans)]
        begins = [*(begin for begin, _ in self.spans), until_ms]
        gaps = [(end, max(begin, end)) for end, begin in zip(ends, begins, strict=True)]
        return max(gaps, key=lambda gap: gap[1] - gap[0])

    def encode(self) -> dict[str, Any]:
        """Return JSON data."""
        return {"gap_ms": self.gap_ms, "spans": self.spans}

    @classmethod
    def decode(cls, plain: Mapping[str, Any]) -> "Coverage":
        """Decode the data of `encode`."""
        return cls(plain["gap_ms"], [(begin, end) for begin, end in plain["spans"]])

    def _unite(self, spans: Iterable[Span]) -> None:
        self.spans, before = [], spans
        for begin_ms, end_ms in before:
            self.add(begin_ms, end_ms)
