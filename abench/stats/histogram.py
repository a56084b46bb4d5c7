"""Latency histograms: HDR buckets, filled in batches, merged in any order."""

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

MAX_US = 3_600_000_000  # one hour: the longest timeout of a Plan, the least range of HDR
FOLD_SIZE = 1_000  # values: little memory, and enough to make counting them in C worthwhile
DIGITS = 3
_BITS = 11  # 2**11 is the first power of two above 2 * 10**DIGITS: HDR's sub-buckets

_MIN_BUCKETED = 1 << _BITS  # below it, each value has a bucket of its own


def _bucket(value: int) -> int:
    """Return the lowest value of the HDR bucket that `value` falls into."""
    shift = value.bit_length() - _BITS
    return value >> shift << shift if shift > 0 else value


def _bucket_max(bucket: int) -> int:
    """Return the highest value of a bucket."""
    return bucket + (1 << max(bucket.bit_length() - _BITS, 0)) - 1


@dataclass
class Histogram:
    """Counts of microseconds, in HDR buckets of three significant digits.

    `counts` maps the lowest value of a bucket to its count; empty buckets are left out.
    Minimum, maximum and mean are exact; percentiles are within 0.1 %.
    """

    counts: Counter[int] = field(default_factory=Counter)
    total_us: int = 0
    min_us: int = sys.maxsize
    max_us: int = 0

    @classmethod
    def of(cls, values: list[int]) -> "Histogram":
        """Return the histogram of `values`, microseconds.

        Equal values are counted in C first, so that the Python loop runs only once for each
        distinct value: 60 ns per value where few are distinct, 220 ns where half of them are.
        """
        return cls.of_distinct(Counter(values))

    @classmethod
    def of_distinct(cls, distinct: Counter[int]) -> "Histogram":
        """Return the histogram of values of which it is known how often each occurs."""
        if not distinct:
            return cls()
        counts = Counter(
            {value: count for value, count in distinct.items() if value < _MIN_BUCKETED}
        )
        get_count = counts.get
        for value, count in distinct.items():
            if value >= _MIN_BUCKETED:
                shift = value.bit_length() - _BITS  # inlined _bucket: a call would double the time
                bucket = value >> shift << shift
                counts[bucket] = get_count(bucket, 0) + count
        total = sum(map(mul, distinct.keys(), distinct.values()))
        return cls(counts, total, min(distinct), max(distinct))

    def merge(self, other: "Histogram") -> None:
        """Add the counts of `other`."""
        self.counts.update(other.counts)
        self.total_us += other.total_us
        self.min_us = min(self.min_us, other.min_us)
        self.max_us = max(self.max_us, other.max_us)

    def since(self, before: "Histogram") -> "Histogram":
        """Return the counts added since the snapshot `before`; only its percentiles are valid."""
        left = self.counts - before.counts
        return Histogram(left, max_us=self.max_us)

    def above(self, limit_us: int) -> Counter[int]:
        """Return the counts of the buckets above `limit_us`, keyed by their highest value."""
        return Counter(
            {
                top: count
                for bucket, count in self.counts.items()
                if (top := min(_bucket_max(bucket), self.max_us)) > limit_us
            }
        )

    def count_up_to(self, limit_us: int) -> int:
        """Return how many values are not above `limit_us`, in whole buckets."""
        return self.count - self.above(limit_us).total()

    @property
    def count(self) -> int:
        """The number of recorded values."""
        return self.counts.total()

    @property
    def min(self) -> int | None:
        """The lowest value, or None without values."""
        return self.min_us if self.counts else None

    @property
    def max(self) -> int | None:
        """The highest value, or None without values."""
        return self.max_us if self.counts else None

    @property
    def mean(self) -> float | None:
        """The arithmetic mean, or None without values."""
        return self.total_us / self.count if self.counts else None

    @property
    def stdev(self) -> float | None:
        """The standard deviation, or None without values; each counts as the middle of its bucket.

        The middle is at most 0.05 % away from the value, as in HdrHistogram's own figure.
        """
        if not self.counts:
            return None
        middles = [(bucket + _bucket_max(bucket)) / 2 for bucket in self.counts]
        mean = sum(map(mul, middles, self.counts.values())) / self.count
        squares = sum(
            count * (middle - mean) ** 2
            for middle, count in zip(middles, self.counts.values(), strict=True)
        )
        return math.sqrt(squares / self.count)

    def percentiles(self, wanted: Iterable[float]) -> dict[float, int | None]:
        """Return for each percentage the value at or below which that share of the values lies.

        It is the highest value of its bucket, as HdrHistogram reports it. It is computed here
        because HdrHistogram walks through 23 thousand counters, and a time series has hundreds of
        histograms.
        """
        if not self.counts:
            return dict.fromkeys(wanted)
        total = self.count
        ranks = {percent: max(1, math.ceil(round(percent * total / 100, 6))) for percent in wanted}
        values = sorted(self.counts)
        reached = list(itertools.accumulate(self.counts[value] for value in values))
        return {
            percent: min(_bucket_max(values[bisect_left(reached, rank)]), self.max_us)
            for percent, rank in ranks.items()
        }

    def spectrum(self) -> list[tuple[float, int, int]]:
        """Return for each bucket the percentage at or below it, its microseconds and its count."""
        total, so_far, steps = self.count, 0, []
        for value in sorted(self.counts):
            so_far += self.counts[value]
            steps.append(
                (100 * so_far / total, min(_bucket_max(value), self.max_us), self.counts[value])
            )
        return steps

    def encode(self) -> dict[str, Any]:
        """Return JSON data: the buckets in HdrHistogram's V2 format, base64."""
        return {
            "total_us": self.total_us,
            "least_us": self.min_us,
            "greatest_us": self.max_us,
            "hdr": self.hdr().encode().decode("ascii"),
        }

    @classmethod
    def decode(cls, plain: Mapping[str, Any]) -> "Histogram":
        """Decode the data of `encode`; raises ValueError, KeyError or TypeError if invalid."""
        try:
            hdr = HdrHistogram.decode(plain["hdr"])
        except (zlib.error, HdrCookieException, HdrLengthException) as error:
            raise ValueError(str(error)) from error
        counts: Counter[int] = Counter()
        # The library's own iterator takes 30 ms for its 23 thousand counters, this loop 1 ms.
        for index, count in enumerate(hdr.counts):
            if count:
                top = hdr.get_highest_equivalent_value(hdr.get_value_from_index(index))
                counts[_bucket(top)] += count
        return cls(counts, plain["total_us"], plain["least_us"], plain["greatest_us"])

    def encode_plain(self) -> dict[str, Any]:
        """Return JSON data with a pair for each bucket: fast where there are many histograms."""
        return {**vars(self), "counts": sorted(self.counts.items())}

    @classmethod
    def decode_plain(cls, plain: Mapping[str, Any]) -> "Histogram":
        """Decode the data of `encode_plain`."""
        return cls(**{**plain, "counts": Counter({int(value): n for value, n in plain["counts"]})})

    def hdr(self) -> HdrHistogram:
        """Return the same counts as a histogram of the HdrHistogram library.

        The library silently drops values above its range. A service time is one hour at most, but
        a response time can be as long as the run.
        """
        hdr = HdrHistogram(1, max(MAX_US, self.max_us), DIGITS)
        for value, count in self.counts.items():
            hdr.record_value(value, count)
        return hdr


class LatencyBuffer:
    """Collects microseconds one by one in bounded memory, however long the run."""

    def __init__(self) -> None:
        self._histogram = Histogram()
        self._values: list[int] = []

    def add(self, us: int) -> None:
        """Add a value."""
        self._values.append(us)
        if len(self._values) >= FOLD_SIZE:
            self._fold()

    @property
    def noted(self) -> bool:
        """Whether there are any values."""
        return bool(self._values or self._histogram.counts)

    def histogram(self) -> Histogram:
        """Return the histogram of all values."""
        self._fold()
        return self._histogram

    def _fold(self) -> None:
        self._histogram.merge(Histogram.of(self._values))
        self._values.clear()
