"""Where the level of a series of numbers has changed: binary segmentation by permutation tests.

The series is compared with its best description by two levels: one before and one from some run on,
or one within an inner part and another around it (as in circular binary segmentation, Olshen et al.
2004: a regression that was repaired is found, too). If few random orders of the same numbers are
described as well, there is a change, and the parts are examined in turn (Vostrikova 1981). So of
all series that differ by chance alone, whatever their distribution is, at most the share `level`
has any change: as many orders of theirs are described as well. What the test assumes is only that a
run does not depend on those before it.

A number counts as at most `_CLIP` median deviations from the median of its part, so that a run that
was disturbed does not hide a change. This leaves the test exact, since it does not depend on order.
"""

import random
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from operator import mul, sub
from statistics import fmean, median
from typing import NamedTuple

MIN_SIZE = 3
"""Runs before the first change and after the last: fewer can hardly be told from chance."""

MIN_INNER_SIZE = 5
"""Runs of an inner part. It can lie in many places, so fewer are often alike by chance."""

_GROWTH = 1.2  # of the lengths of inner parts that are tried: the exact one is found afterwards
_CLIP = 5.0
_ORDERS = 1_999
_SEED = 20_260_727  # the same history has the same changes each time


def find_changes(values: Sequence[float], level: float) -> list[int]:
    """Return the indices at which another level begins, in order.

    If there is no change, any is found with a probability of at most `level`.
    """
    found = _refine(values, _split(values, 0, level))
    while True:
        kept = [place for place in found if _is_change(values, found, place, level)]
        if kept == found:
            return found
        found = _refine(values, kept)


def segments(changes: Sequence[int], length: int) -> list[tuple[int, int]]:
    """Return begin and end of the parts between changes."""
    return list(pairwise([0, *changes, length]))


def _split(values: Sequence[float], offset: int, level: float) -> list[int]:
    """Return the changes within `values`, which begin at `offset` of all."""
    inner = _significant_ends(values, level)
    found: list[int] = []
    for begin, end in segments(inner, len(values)) if inner else ():
        found += _split(values[begin:end], offset + begin, level)
        found += [offset + end] if end < len(values) else []
    return found


def _refine(values: Sequence[float], changes: Sequence[int]) -> list[int]:
    """Move each change to the best place between its neighbours.

    The first was found while all others were still unknown.
    """
    ends = [0, *changes, len(values)]
    for number in range(1, len(ends) - 1):
        begin, end = ends[number - 1], ends[number + 1]
        best = max(_outer_parts(_sums(_centered(values[begin:end]))))
        ends[number] = begin + best.end
    return ends[1:-1]


def _is_change(values: Sequence[float], changes: Sequence[int], place: int, level: float) -> bool:
    """Whether a change is one between its neighbours, and not only beside others."""
    ends = [0, *changes, len(values)]
    number = ends.index(place)
    return bool(_significant_ends(values[ends[number - 1] : ends[number + 1]], level))


def _significant_ends(values: Sequence[float], level: float) -> list[int]:
    """Return where the part begins and ends that differs from the rest, within the series.

    Return nothing if chance may be the reason.
    """
    if len(values) < 2 * MIN_SIZE:
        return []
    centered = _centered(values)
    sums = _sums(centered)
    best = max((*_outer_parts(sums), *_inner_parts(sums)))
    if p_value(centered, level) > level:
        return []
    return [end for end in (best.begin, best.end) if 0 < end < len(values)]


def p_value(centered: Sequence[float], level: float) -> float:
    """Return the share of orders that are described as well by two levels, the given one included.

    As soon as it is sure that it is above `level`, 1 is returned (Besag, Clifford 1991).
    """
    orders = random.Random(_SEED)  # noqa: S311 - these numbers are no secret
    statistic = explained(centered) * (1 - 1e-12)
    shuffled = list(centered)
    reached, enough = 1, level * (_ORDERS + 1)
    for _ in range(_ORDERS):
        orders.shuffle(shuffled)
        if explained(shuffled) >= statistic:
            reached += 1
            if reached > enough:
                return 1.0
    return reached / (_ORDERS + 1)


def explained(centered: Sequence[float]) -> float:
    """Return what the best description explains: that of `_outer_parts` and `_inner_parts`.

    This is computed thousands of times, and most of it in C.
    """
    n = len(centered)
    sums = _sums(centered)
    outer = sums[MIN_SIZE : n - MIN_SIZE + 1]
    best: float = max(map(mul, map(mul, outer, outer), _outer_weights(n)))
    for length, weight in _inner_weights(n):
        differences = list(map(sub, outer[length:], outer))
        highest, lowest = max(differences), min(differences)
        best = max(best, highest * highest * weight, lowest * lowest * weight)
    return best


class _Part(NamedTuple):
    """A part that is described by a level of its own, and what this explains."""

    explained: float
    begin: int
    end: int


def _outer_parts(sums: Sequence[float]) -> Iterator[_Part]:
    """Yield the parts that begin with the series; what follows is the other one."""
    n = len(sums) - 1
    for end in range(MIN_SIZE, n - MIN_SIZE + 1):
        yield _Part(sums[end] * sums[end] * _weight(end, n), 0, end)


def _inner_parts(sums: Sequence[float]) -> Iterator[_Part]:
    n = len(sums) - 1
    for length, weight in _inner_weights(n):
        for begin in range(MIN_SIZE, n - MIN_SIZE - length + 1):
            total = sums[begin + length] - sums[begin]
            yield _Part(total * total * weight, begin, begin + length)


def _weight(length: int, n: int) -> float:
    """Return by how much the square of a part's sum counts.

    If n values have the mean 0, and k of them the sum S, the levels of these and of the others
    explain S^2 n / (k (n - k)) of the sum of squares. The factor n is the same for all.
    """
    return 1 / (length * (n - length))


@lru_cache(maxsize=64)
def _outer_weights(n: int) -> list[float]:
    return [_weight(end, n) for end in range(MIN_SIZE, n - MIN_SIZE + 1)]


@lru_cache(maxsize=64)
def _inner_weights(n: int) -> list[tuple[int, float]]:
    """Return the lengths of inner parts that are tried, with their weights."""
    found, length = [], MIN_INNER_SIZE
    while length <= n - 2 * MIN_SIZE:
        found.append((length, _weight(length, n)))
        length = max(length + 1, int(_GROWTH * length))
    return found


def _sums(centered: Sequence[float]) -> list[float]:
    return list(accumulate(centered, initial=0.0))


def _centered(values: Sequence[float]) -> list[float]:
    """Return the values less their mean, without outliers."""
    middle = median(values)
    reach = _CLIP * median(abs(value - middle) for value in values)
    if reach:  # else half of them are equal
        values = [min(max(value, middle - reach), middle + reach) for value in values]
    mean = fmean(values)
    return [value - mean for value in values]
