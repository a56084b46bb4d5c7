"""Whether the values of a run grow: the Mann-Kendall test, and how far by its halves.

The test compares each value with each later one (Mann 1945, Kendall 1975). It assumes no
distribution, and one outlier counts no more than any other value.
"""

import math
from collections.abc import Sequence
from functools import cache
from itertools import combinations

EXACT = 10  # values: up to here all orders are counted, beyond it S is close to normal


def chance_of_growth(values: Sequence[float]) -> float:
    """Return the chance that values in random order grow as clearly as these do (one-sided)."""
    later_is_more = sum(
        (later > earlier) - (later < earlier) for earlier, later in combinations(values, 2)
    )
    number = len(values)
    if number <= EXACT:
        orders = _orders_by_score(number)
        at_least = sum(orders[score] for score in orders if score >= later_is_more)
        return at_least / math.factorial(number)
    deviation = math.sqrt(number * (number - 1) * (2 * number + 5) / 18)
    score = (later_is_more - 1) / deviation  # 1 less: corrected for continuity
    return math.erfc(score / math.sqrt(2)) / 2


@cache
def _orders_by_score(number: int) -> dict[int, int]:
    """Return how many orders of different values have each score S.

    The score of an order is that of the order without its largest value, plus the number of values
    before that one, less those behind it.
    """
    if number <= 1:
        return {0: 1}
    orders: dict[int, int] = {}
    for score, count in _orders_by_score(number - 1).items():
        for before in range(number):
            with_largest = score + 2 * before - (number - 1)
            orders[with_largest] = orders.get(with_largest, 0) + count
    return orders
