"""What was counted of the requests that were due in one stage of a schedule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from abench.stats.histogram import Histogram, LatencyBuffer

_HISTOGRAMS = ("service", "response", "waits", "due_waits")


@dataclass
class StageStats:
    """Requests due in one stage: what became of them, and the times of the successes.

    `unfinished` were started and had no outcome at the end; `skipped` were never started. `waits`
    and `due_waits` are how long the former had taken by then, as a Summary has them of a run.
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
        """How many had another outcome than success."""
        return max(0, self.started - self.unfinished - self.service.count)

    def record_waits(self, waits: Sequence[tuple[int, int]], first_skipped: list[int]) -> None:
        """Count what is under way at the end, each from its start and from when it was due."""
        self.unfinished = len(waits)
        self.waits = Histogram.of([wait for wait, _ in waits])
        self.due_waits = Histogram.of([*(wait for _, wait in waits), *first_skipped])

    def merge(self, other: "StageStats") -> None:
        """Count another part of the same stage."""
        for name in ("started", "late", "skipped", "unfinished"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _HISTOGRAMS:
            getattr(self, name).merge(getattr(other, name))

    def encode(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        kinds = {name: getattr(self, name).encode_plain() for name in _HISTOGRAMS}
        return {**vars(self), **kinds}

    @classmethod
    def decode(cls, plain: Mapping[str, Any]) -> "StageStats":
        """Undo `encode`."""
        kinds = {name: Histogram.decode_plain(plain[name]) for name in _HISTOGRAMS}
        return cls(**{**plain, **kinds})


class StageRecorder:
    """The notebook of one process for one stage: what it has counted since it was last taken."""

    def __init__(self) -> None:
        self.started = self.late = 0
        self.service = LatencyBuffer()
        self.response = LatencyBuffer()

    def stats(self) -> StageStats:
        """Return all that was noted since the last call, and forget it."""
        times = self.service.histogram(), self.response.histogram()
        taken = StageStats(self.started, self.late, 0, 0, *times)
        self.started = self.late = 0
        self.service, self.response = LatencyBuffer(), LatencyBuffer()
        return taken
