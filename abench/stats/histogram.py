"""How often each time occurred: HDR buckets, filled in batches and merged freely."""

import itertools
import math
import sys
import zlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import mul
from typing import Any

from hdrh.codec import HdrCookieException, HdrLengthException
from hdrh.histogram import HdrHistogram

MAX_US = 3_600_000_000  # an hour, the longest time limit a Plan takes; HDR's range at least
FOLD_SIZE = 1_000  # values: few enough to be nothing, and enough for counting them in C to pay
DIGITS = 3
_BITS = 11  # 2**11 is the first power of two with 2 * 10**DIGITS steps in it: HDR's sub-buckets

_MIN_BUCKETED = 1 << _BITS  # below it, each value has a bucket of its own


def _bucket(value: int) -> int:
    """Return the least value of the HDR bucket that holds `value`."""
    shift = value.bit_length() - _BITS
    return value >> shift << shift if shift > 0 else value


def _bucket_max(bucket: int) -> int:
    """Return the greatest value of a bucket."""
    return bucket + (1 << max(bucket.bit_length() - _BITS, 0)) - 1


@dataclass
class Histogram:
    """Counts of microseconds, in HDR buckets of three significant digits.

    `counts` is by the least value of a bucket, and holds only the buckets that something fell in.
    Least, greatest and mean are exact; percentiles are within 0.1 %.
    """

    counts: Counter[int] = field(default_factory=Counter)
    total_us: int = 0
    min_us: int = sys.maxsize
    max_us: int = 0

    @classmethod
    def of(cls, values: list[int]) -> "Histogram":
        """Return the histogram of `values`, microseconds.

        Counted in C first, so that the rest is done only for values that differ: 60 ns each where
        they are few, 220 where half of them do.
        """
        if not values:
            return cls()
        alike = Counter(values)
        counts = Counter({value: count for value, count in alike.items() if value < _MIN_BUCKETED})
        counted = counts.get
        for value, count in alike.items():
            if value >= _MIN_BUCKETED:
                shift = value.bit_length() - _BITS  # as in _bucket: a call would double the time
                bucket = value >> shift << shift
                counts[bucket] = counted(bucket, 0) + count
        total = sum(map(mul, alike.keys(), alike.values()))
        return cls(counts, total, min(alike), max(alike))

    def merge(self, other: "Histogram") -> None:
        """Add what `other` has counted."""
        self.counts.update(other.counts)
        self.total_us += other.total_us
        self.min_us = min(self.min_us, other.min_us)
        self.max_us = max(self.max_us, other.max_us)

    def since(self, before: "Histogram") -> "Histogram":
        """Return what was counted since this was as `before`; of its figures, percentiles only."""
        left = self.counts - before.counts
        return Histogram(left, max_us=self.max_us)

    def above(self, limit_us: int) -> Counter[int]:
        """Return how many values there are of each bucket above `limit_us`, by its greatest."""
        return Counter(
            {
                top: count
                for bucket, count in self.counts.items()
                if (top := min(_bucket_max(bucket), self.max_us)) > limit_us
            }
        )

    @property
    def count(self) -> int:
        """How many values were recorded."""
        return self.counts.total()

    @property
    def min(self) -> int | None:
        """The least value, or None when there is none."""
        return self.min_us if self.counts else None

    @property
    def max(self) -> int | None:
        """The greatest value, or None when there is none."""
        return self.max_us if self.counts else None

    @property
    def mean(self) -> float | None:
        """The arithmetic mean, or None when there is none."""
        return self.total_us / self.count if self.counts else None

    def percentiles(self, wanted: Iterable[float]) -> dict[float, int | None]:
        """Return the value at or below which each of the `wanted` percentages of values lie.

        That is the greatest value of its bucket, as HdrHistogram gives it. Counted here, since that
        one walks through 23 thousand counters, and a series has hundreds of histograms.
        """
        if not self.counts:
            return dict.fromkeys(wanted)
        whole = self.count
        ranks = {percent: max(1, math.ceil(round(percent * whole / 100, 6))) for percent in wanted}
        values = sorted(self.counts)
        reached = list(itertools.accumulate(self.counts[value] for value in values))
        return {
            percent: min(_bucket_max(values[bisect_left(reached, rank)]), self.max_us)
            for percent, rank in ranks.items()
        }

    def spectrum(self) -> list[tuple[float, int, int]]:
        """Return for each bucket: the percentage at or below it, its microseconds, its count."""
        whole, so_far, steps = self.count, 0, []
        for value in sorted(self.counts):
            so_far += self.counts[value]
            steps.append(
                (100 * so_far / whole, min(_bucket_max(value), self.max_us), self.counts[value])
            )
        return steps

    def encode(self) -> dict[str, Any]:
        """Return plain data for JSON: buckets in HdrHistogram's own V2 format, base64."""
        plain = {**vars(self), "hdr": self.hdr().encode().decode("ascii")}
        del plain["counts"]
        return plain

    @classmethod
    def decode(cls, plain: Mapping[str, Any]) -> "Histogram":
        """Undo `encode`. Raises ValueError, KeyError or TypeError for anything else."""
        others = {name: value for name, value in plain.items() if name != "hdr"}
        try:
            hdr = HdrHistogram.decode(plain["hdr"])
        except (zlib.error, HdrCookieException, HdrLengthException) as error:
            raise ValueError(str(error)) from error
        counts = {
            _bucket(step.value_iterated_to): step.count_at_value_iterated_to
            for step in hdr.get_recorded_iterator()
        }
        return cls(Counter(counts), **others)

    def encode_plain(self) -> dict[str, Any]:
        """Return plain data for JSON, a pair for each bucket: quick where there are many."""
        return {**vars(self), "counts": sorted(self.counts.items())}

    @classmethod
    def decode_plain(cls, plain: Mapping[str, Any]) -> "Histogram":
        """Undo `encode_plain`."""
        return cls(**{**plain, "counts": Counter({int(value): n for value, n in plain["counts"]})})

    def hdr(self) -> HdrHistogram:
        """Return the same counts in the class of the HdrHistogram library.

        It drops in silence what is above its range. A request sent takes an hour at most, but one
        that was due may wait for as long as a run lasts.
        """
        hdr = HdrHistogram(1, max(MAX_US, self.max_us), DIGITS)
        for value, count in self.counts.items():
            hdr.record_value(value, count)
        return hdr


class LatencyBuffer:
    """Microseconds noted one by one, for as long as a run may last, in next to no memory."""

    def __init__(self) -> None:
        self._histogram = Histogram()
        self._noted: list[int] = []

    def add(self, us: int) -> None:
        """Count a value."""
        self._noted.append(us)
        if len(self._noted) >= FOLD_SIZE:
            self._fold()

    @property
    def noted(self) -> bool:
        """Whether anything was noted."""
        return bool(self._noted or self._histogram.counts)

    def histogram(self) -> Histogram:
        """Return all that was noted."""
        self._fold()
        return self._histogram

    def _fold(self) -> None:
        self._histogram.merge(Histogram.of(self._noted))
        self._noted.clear()
