"""The order in which several URLs are asked for, each as often as its weight says."""

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

    Each has its k-th turn in the middle of the k-th of `weight` equal parts of the round. Those of
    one weight have their turns together, so that there are no more moments than different weights
    have.
    """
    divisor = gcd(*set(weights))
    if min(weights) == divisor == max(weights):
        return range(len(weights))
    if sum(weights) // divisor > MAX_ROUND:
        raise ParameterError("--urls", f"the weights add up to more than {MAX_ROUND:,}")
    alike: defaultdict[int, array[int]] = defaultdict(lambda: array("I"))
    for index, weight in enumerate(weights):
        alike[weight // divisor].append(index)
    order = array("I")
    moments = merge(*map(_turns, alike))
    for _, together in groupby(moments, key=itemgetter(0)):
        order.extend(_by_index([alike[weight] for _, weight in together]))
    return order


def _turns(weight: int) -> Iterator[tuple[float, int]]:
    return (((2 * turn + 1) / (2 * weight), weight) for turn in range(weight))


def _by_index(groups: list["array[int]"]) -> Iterable[int]:
    return groups[0] if len(groups) == 1 else merge(*groups)
