"""The counts of each interval of a run, compressed once the interval has ended."""

import pickle
import zlib
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Annotated

from abench.stats import counts
from abench.stats.counts import HISTOGRAM, SUM
from abench.stats.histogram import Histogram

_MAX_UNPACKED = 4  # intervals that workers may still report counts for


@dataclass
class Interval:
    """The counts of one interval; `service` and `response` hold the times of successes."""

    succeeded: Annotated[int, SUM] = 0
    failed: Annotated[int, SUM] = 0
    bytes_received: Annotated[int, SUM] = 0
    service: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    response: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)

    def merge(self, other: "Interval") -> None:
        """Add another part of the same interval."""
        counts.merge(self, other)


class PackedIntervals(MutableMapping[int, Interval]):
    """Intervals keyed by the second at which they begin, in order of insertion.

    The histograms of one second take 80 KB as dictionaries and 3 KB compressed: ten minutes
    uncompressed would grow a process from 45 MB to 90. The most recently used intervals stay
    uncompressed and can be modified.
    """

    def __init__(self, intervals: dict[int, Interval] | None = None) -> None:
        self._packed: dict[int, bytes] = {}
        self._unpacked: dict[int, Interval] = {}
        self.update(intervals or {})

    def __getitem__(self, at_s: int) -> Interval:
        """Return the interval that begins at a second; it can be modified."""
        if at_s not in self._unpacked:
            self[at_s] = pickle.loads(zlib.decompress(self._packed[at_s]))  # noqa: S301 - our own
        return self._unpacked[at_s]

    def __setitem__(self, at_s: int, interval: Interval) -> None:
        self._packed.setdefault(at_s, b"")  # keeps the order of insertion
        self._unpacked[at_s] = interval
        if len(self._unpacked) > _MAX_UNPACKED:
            oldest = next(iter(self._unpacked))
            self._packed[oldest] = zlib.compress(pickle.dumps(self._unpacked.pop(oldest)), 1)

    def __delitem__(self, at_s: int) -> None:
        del self._packed[at_s]
        self._unpacked.pop(at_s, None)

    def __iter__(self) -> Iterator[int]:
        return iter(list(self._packed))

    def __len__(self) -> int:
        return len(self._packed)
