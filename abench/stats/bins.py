"""A distribution in a few bins, to be drawn as bars."""

from bisect import bisect_left
from typing import NamedTuple

from abench.stats.histogram import Histogram


class Bin(NamedTuple):
    """How many values are above the bin before, and at or below `top`."""

    top: int
    values: int


def bins(histogram: Histogram, number: int) -> list[Bin]:
    """Return at most `number` bins from the lowest value to the highest, none without values.

    Each ends at the same multiple of the one before, so that both the usual values and the few that
    are a thousand times as long can be seen. Bins that would end at the same whole number are one.
    """
    if not histogram.counts:
        return []
    low, high = max(1, histogram.min_us), histogram.max_us
    step = (high / low) ** (1 / number)
    tops = sorted({*(round(low * step**each) for each in range(1, number)), high})
    counts = [0] * len(tops)
    for _, value, count in histogram.spectrum():
        counts[bisect_left(tops, value)] += count
    return [Bin(*each) for each in zip(tops, counts, strict=True)]
