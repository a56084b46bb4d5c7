"""Change points: against an enumeration, a series whose change is known, and chance alone."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abench.stats import change_points
from abench.stats.change_points import find_changes, p_value, segments

# The annual flow of the Nile at Aswan, 1871 to 1970: the textbook series (Cobb 1978), which falls
# after its 28th year, 1898, when the first dam was begun.
NILE = [
    *(1120, 1160, 963, 1210, 1160, 1160, 813, 1230, 1370, 1140, 995, 935, 1110, 994, 1020, 960),
    *(1180, 799, 958, 1140, 1100, 1210, 1150, 1250, 1260, 1220, 1030, 1100, 774, 840, 874, 694),
    *(940, 833, 701, 916, 692, 1020, 1050, 969, 831, 726, 456, 824, 702, 1120, 1100, 832, 764),
    *(821, 768, 845, 864, 862, 698, 845, 744, 796, 1040, 759, 781, 865, 845, 944, 984, 897, 822),
    *(1010, 771, 676, 649, 846, 812, 742, 801, 1040, 860, 874, 848, 890, 744, 749, 838, 1050),
    *(918, 986, 797, 923, 975, 815, 1020, 906, 901, 1170, 912, 746, 919, 718, 714, 740),
]


@pytest.mark.slow
def test_the_change_of_the_nile_is_found():
    assert len(NILE) == 100
    assert find_changes(NILE, 0.01) == [28]


def squares(values):
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values)


def described(values):
    """Return how much of the sum of squares the best description explains, by its definition."""
    n, most = len(values), 0.0
    lengths = [length for length, _ in change_points._inner_weights(n)]
    outer = [(0, end) for end in range(3, n - 2)]
    inner = [(begin, begin + size) for size in lengths for begin in range(3, n - 2 - size)]
    for begin, end in outer + inner:
        around = values[:begin] + values[end:]
        most = max(most, squares(values) - squares(values[begin:end]) - squares(around))
    return most


@given(st.lists(st.integers(-1000, 1000), min_size=6, max_size=30))
def test_the_statistic_is_the_variance_that_two_levels_explain(values):
    mean = sum(values) / len(values)
    centered = [value - mean for value in values]
    found = change_points.explained(centered)
    assert found * len(values) == pytest.approx(described(values), abs=1e-6)
    sums = change_points._sums(centered)
    parts = (*change_points._outer_parts(sums), *change_points._inner_parts(sums))
    assert max(parts).explained == pytest.approx(found)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_the_probability_is_that_of_all_orders(seed):
    """Of seven numbers: 5,040 orders."""
    rng = random.Random(seed)
    values = [rng.gauss(0, 1) + (at >= 3) for at in range(7)]
    mean = sum(values) / 7
    centered = [value - mean for value in values]
    statistic = change_points.explained(centered) - 1e-9
    orders = list(itertools.permutations(centered))
    exact = sum(change_points.explained(order) >= statistic for order in orders) / len(orders)
    # 1,999 random orders: four standard errors.
    error = 4 * math.sqrt(exact * (1 - exact) / 1_999) + 1 / 2_000
    assert p_value(centered, 1.0) == pytest.approx(exact, abs=error)


def normal(rng):
    return rng.gauss(0, 1)


def heavy(rng):
    """Return a number of Student's t distribution with two degrees of freedom."""
    return rng.gauss(0, 1) / math.sqrt(rng.expovariate(1))


def skewed(rng):
    """Return the logarithm of a latency that one run of ten has doubled."""
    return rng.gauss(0, 0.03) + (math.log(2) if rng.random() < 0.1 else 0)


def discrete(rng):
    """Return whole microseconds, most of them equal."""
    return rng.choice((70, 71, 71, 71, 72))


@pytest.mark.slow
@pytest.mark.parametrize("distribution", [normal, heavy, skewed, discrete])
@pytest.mark.parametrize("length", [12, 24])
def test_of_histories_without_a_change_few_have_one(distribution, length):
    """A/A: at most 5 of 100, give or take three standard errors of 200 histories."""
    rng = random.Random(length)
    alarms = sum(
        bool(find_changes([distribution(rng) for _ in range(length)], 0.05)) for _ in range(200)
    )
    assert alarms / 200 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


@pytest.mark.slow
def test_changes_are_found_where_they_are():
    rng = random.Random(5)
    levels = [0.0] * 20 + [0.2] * 15 + [-0.1] * 15
    found = [
        find_changes([level + rng.gauss(0, 0.03) for level in levels], 0.0025) for _ in range(20)
    ]
    assert sum(changes == [20, 35] for changes in found) >= 18


def test_one_disturbed_run_is_no_change_and_hides_none():
    rng = random.Random(6)
    values = [rng.gauss(0, 0.03) for _ in range(16)] + [rng.gauss(0.5, 0.03) for _ in range(8)]
    values[4] = 25.0
    assert find_changes(values, 0.0025) == [16]
    assert find_changes(values[:16], 0.05) == []


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * 5, [1.0] * 50, [1.0, 9.0] * 2 + [1.0]])
def test_few_or_equal_values_have_no_change(values):
    assert find_changes(values, 0.05) == []


def test_three_runs_of_a_new_level_are_enough_after_many():
    """Fewer than three cannot be: they may be disturbed."""
    old = [100 + at % 3 for at in range(39)]
    assert find_changes([*old, 150, 150], 0.0025) == []
    assert find_changes([*old, 150, 151, 150], 0.0025) == [39]


def test_a_regression_that_was_repaired_is_found():
    """Before and after are alike: one split explains little."""
    rng = random.Random(7)
    levels = [0.0] * 12 + [0.3] * 8 + [0.0] * 10
    assert find_changes([level + rng.gauss(0, 0.03) for level in levels], 0.0025) == [12, 20]


def test_the_same_history_has_the_same_changes():
    rng = random.Random(8)
    values = [rng.gauss(at // 6, 1) for at in range(12)]
    assert find_changes(values, 0.05) == find_changes(values, 0.05)
    assert segments([28], 100) == [(0, 28), (28, 100)]
