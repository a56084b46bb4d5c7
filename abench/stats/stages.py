"""The counts of the requests that were due in one stage of a schedule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from abench.stats.histogram import Histogram, LatencyBuffer

_HISTOGRAMS = ("service", "response", "waits", "due_waits")


@dataclass
class StageStats:
    """The requests due in one stage: their outcomes, and the times of successes.

    `unfinished` requests had started and had no outcome at the end; `skipped` never started.
    `waits` and `due_waits` are how long the unfinished ones had taken by then, as in Summary.
    """

    started: int = 0
    late: int = 0
    skipped: int = 0
    unfinished: int = 0
    service: Histogram = field(default_factory=Histogram)
    response: Histogram = field(default_factory=Histogram)
    waits: Histogram = field(default_factory=Histogram)
    due_waits: Histogram = field(default_factory=Histogram)

    @property
    def failed(self) -> int:
        """Requests with an outcome other than success."""
        return max(0, self.started - self.unfinished - self.service.count)

    def record_waits(self, waits: Sequence[tuple[int, int]], first_skipped: list[int]) -> None:
        """Record the requests in flight at the end: time since the start and since due, in us."""
        self.unfinished = len(waits)
        self.waits = Histogram.of([wait for wait, _ in waits])
        self.due_waits = Histogram.of([*(wait for _, wait in waits), *first_skipped])

    def merge(self, other: "StageStats") -> None:
        """Add another part of the same stage."""
        for name in ("started", "late", "skipped", "unfinished"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _HISTOGRAMS:
            getattr(self, name).merge(getattr(other, name))

    def encode(self) -> dict[str, Any]:
        """Return JSON data."""
        histograms = {name: getattr(self, name).encode_plain() for name in _HISTOGRAMS}
        return {**vars(self), **histograms}

    @classmethod
    def decode(cls, plain: Mapping[str, Any]) -> "StageStats":
        """Decode the data of `encode`."""
        histograms = {name: Histogram.decode_plain(plain[name]) for name in _HISTOGRAMS}
        return cls(**{**plain, **histograms})


class StageRecorder:
    """The counts of one process for one stage since they were last taken."""

    def __init__(self) -> None:
        self.started = self.late = 0
        self.service = LatencyBuffer()
        self.response = LatencyBuffer()

    def stats(self) -> StageStats:
        """Return the counts since the last call, and reset them."""
        times = self.service.histogram(), self.response.histogram()
        taken = StageStats(self.started, self.late, 0, 0, *times)
        self.started = self.late = 0
        self.service, self.response = LatencyBuffer(), LatencyBuffer()
        return taken
