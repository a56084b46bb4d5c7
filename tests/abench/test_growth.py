"""The Mann-Kendall test: its chances are those of all orders."""

import math
import random
from itertools import permutations

import pytest

from abench.stats.growth import EXACT, chance_of_growth


@pytest.mark.parametrize("number", [3, 5, 6])
def test_the_chance_is_the_share_of_orders_that_grow_as_clearly(number):
    def score(order):
        return sum(order[j] > order[i] for j in range(number) for i in range(j))

    orders = list(permutations(range(number)))
    chances = {order: chance_of_growth(order) for order in orders[:: number - 2]}
    for order, chance in chances.items():
        at_least = sum(score(other) >= score(order) for other in orders)
        assert chance == pytest.approx(at_least / len(orders))


def test_one_order_of_all_grows_throughout():
    assert chance_of_growth(range(7)) == pytest.approx(1 / math.factorial(7))
    assert chance_of_growth(range(7, 0, -1)) == 1
    assert chance_of_growth([1, 1, 1, 1, 1, 1]) >= 0.5
    assert chance_of_growth([]) == 1


def test_many_values_have_nearly_the_exact_chance():
    """Kendall 1975: S is close to normal from about ten values on."""
    chance = random.Random(1)
    values = [chance.random() + 0.05 * place for place in range(EXACT + 1)]
    exact = chance_of_growth(values[:EXACT])
    assert 0 < exact < 1
    assert chance_of_growth(range(EXACT + 1)) < 0.0001
    assert chance_of_growth([*range(EXACT), -1]) == pytest.approx(0.0024, abs=0.002)


def test_steady_values_seldom_grow():
    """At a chance of 1 %, 10 of 1,000 are expected; 22 or more come once in 2,000 times."""
    chance = random.Random(7)
    found = sum(
        chance_of_growth([chance.random() for _ in range(size)]) <= 0.01
        for size in (6, 9, 12, 30)
        for _ in range(250)
    )
    assert found <= 21
