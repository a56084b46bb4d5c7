"""What was counted in the seconds of a run, packed as soon as they are over."""

import pickle
import zlib
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field

from abench.stats.histogram import Histogram

_MAX_UNPACKED = 4  # seconds that workers may still report of


@dataclass
class Interval:
    """What was counted in one step of a run; `service` and `response` are of the successes."""

    succeeded: int = 0
    failed: int = 0
    bytes_received: int = 0
    service: Histogram = field(default_factory=Histogram)
    response: Histogram = field(default_factory=Histogram)

    def merge(self, other: "Interval") -> None:
        """Count another part of the same moment."""
        self.succeeded += other.succeeded
        self.failed += other.failed
        self.bytes_received += other.bytes_received
        self.service.merge(other.service)
        self.response.merge(other.response)


class PackedIntervals(MutableMapping[int, Interval]):
    """Moments by the second at which they begin, in the order in which they came.

    The histograms of one second take 80 KB as dictionaries, and 3 KB packed: ten minutes would
    make of 45 MB of memory 90. The last that were asked for are kept open, and may be changed.
    """

    def __init__(self, moments: dict[int, Interval] | None = None) -> None:
        self._packed: dict[int, bytes] = {}
        self._unpacked: dict[int, Interval] = {}
        self.update(moments or {})

    def __getitem__(self, at_s: int) -> Interval:
        """Return what was counted from a second on, open to be changed."""
        if at_s not in self._unpacked:
            self[at_s] = pickle.loads(zlib.decompress(self._packed[at_s]))  # noqa: S301 - our own
        return self._unpacked[at_s]

    def __setitem__(self, at_s: int, moment: Interval) -> None:
        self._packed.setdefault(at_s, b"")  # which keeps its place
        self._unpacked[at_s] = moment
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
