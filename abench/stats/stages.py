"""The counts of the requests that were due in one stage of a schedule."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from abench.stats import counts
from abench.stats.counts import BY_NAME, BY_NUMBER, HISTOGRAM, SUM
from abench.stats.histogram import Histogram
from abench.stats.outcomes import OutcomeRecorder


@dataclass
class StageStats:
    """The requests due in one stage: their outcomes, and the times of successes.

    `unfinished` requests had started and had no outcome at the end; `skipped` never started.
    `bytes_received` are those of complete responses.
    `waits` and `due_waits` are how long the unfinished ones had taken by then, as in Summary.
    """

    started: Annotated[int, SUM] = 0
    late: Annotated[int, SUM] = 0
    skipped: Annotated[int, SUM] = 0
    unfinished: Annotated[int, SUM] = 0
    service: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    response: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    waits: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    due_waits: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    status: Annotated[Counter[int], BY_NUMBER] = field(default_factory=Counter)
    failures: Annotated[Counter[str], BY_NAME] = field(default_factory=Counter)
    bytes_received: Annotated[int, SUM] = 0

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
        counts.merge(self, other)

    def encode(self) -> dict[str, Any]:
        """Return JSON data."""
        return counts.encode(self)

    @classmethod
    def decode(cls, plain: Mapping[str, Any]) -> "StageStats":
        """Decode the data of `encode`."""
        return counts.decode(cls, plain)


class StageRecorder(OutcomeRecorder):
    """The counts of one process for one stage since they were last taken."""

    __slots__ = ("late", "started")

    def __init__(self) -> None:
        super().__init__()
        self.started = self.late = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing was counted."""
        return not (self.started or self.service or self._failures)

    def take(self) -> StageStats:
        """Return the counts since the last call, and reset them."""
        taken = StageStats(
            self.started,
            self.late,
            service=Histogram.of(self.service),
            response=Histogram.of(self.response),
            status=self._statuses,
            failures=self._failures,
            bytes_received=self._bytes,
        )
        self.started = self.late = 0
        self._reset()
        return taken
