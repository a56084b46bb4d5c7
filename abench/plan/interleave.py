"""The order in which several URLs are requested, each as often as its weight says."""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import groupby
from math import gcd
from operator import itemgetter

from abench.errors import ParameterError

MAX_ROUND = 1_000_000


def interleave(weights: Sequence[int]) -> Sequence[int]:
    """Return one round of indices in which each comes as often as its weight, evenly spread.

    Each has its k-th turn in the middle of the k-th of `weight` equal parts of the round. Indices
    of equal weight have their turns at the same moment, so that only the turns of distinct weights
    are sorted. Raises ParameterError for a round of more than MAX_ROUND turns.
    """
    divisor = gcd(*set(weights))
    if min(weights) == divisor == max(weights):
        return range(len(weights))
    if sum(weights) // divisor > MAX_ROUND:
        raise ParameterError("--urls", f"the weights add up to more than {MAX_ROUND:,}")
    by_weight: defaultdict[int, array[int]] = defaultdict(lambda: array("I"))
    for index, weight in enumerate(weights):
        by_weight[weight // divisor].append(index)
    order = array("I")
    moments = merge(*map(_turns, by_weight))
    for _, same_moment in groupby(moments, key=itemgetter(0)):
        order.extend(_by_index([by_weight[weight] for _, weight in same_moment]))
    return order


def _turns(weight: int) -> Iterator[tuple[float, int]]:
    return (((2 * turn + 1) / (2 * weight), weight) for turn in range(weight))


def _by_index(groups: list["array[int]"]) -> Iterable[int]:
    return groups[0] if len(groups) == 1 else merge(*groups)
