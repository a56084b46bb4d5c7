"""The counts of a group of requests, such as those for one URL."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from abench.stats import counts
from abench.stats.counts import BY_NAME, BY_NUMBER, HISTOGRAM, SUM, Rule
from abench.stats.histogram import Histogram


@dataclass(kw_only=True)
class GroupStats:
    """The requests of one group: their outcomes, and the times of successes.

    `bytes_received` are those of complete responses. `waits` and `due_waits` are how long the
    `unfinished` requests had taken at the end, as in Summary.
    """

    service: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    response: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    waits: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    due_waits: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    status: Annotated[Counter[int], BY_NUMBER] = field(default_factory=Counter)
    failures: Annotated[Counter[str], BY_NAME] = field(default_factory=Counter)
    bytes_received: Annotated[int, SUM] = 0
    unfinished: Annotated[int, SUM] = 0

    def record_waits(self, waits: Sequence[tuple[int, int]]) -> None:
        """Record the requests in flight at the end: time since the start and since due, in us."""
        self.unfinished = len(waits)
        self.waits = Histogram.of([wait for wait, _ in waits])
        self.due_waits = Histogram.of([wait for _, wait in waits])

    def merge(self, other: "GroupStats") -> None:
        """Add another part of the same group."""
        counts.merge(self, other)


def _merge(one: dict[int, GroupStats], other: dict[int, GroupStats]) -> dict[int, GroupStats]:
    for number, group in other.items():
        one.setdefault(number, GroupStats()).merge(group)
    return one


BY_GROUP = Rule(
    _merge,
    lambda groups: {number: counts.encode(one) for number, one in groups.items()},
    lambda plain: {int(number): counts.decode(GroupStats, one) for number, one in plain.items()},
)
