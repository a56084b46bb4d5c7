"""The search for the highest rate, against queues whose capacity is known, and pure chance."""

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abench.stats.capacity_search import CapacitySearch
from abench.stats.scalability import fit_scalability

STEP_S, WARMUP_S = 40.0, 5.0
QUANTILE = 0.99


def step(rate: float, servers: int, service: Callable[[], float], rng: random.Random) -> float:
    """Return the p99 of response times of a step: Poisson arrivals, so many servers, one queue."""
    free = [0.0] * servers
    now, times = 0.0, []
    while now < WARMUP_S + STEP_S:
        now += rng.expovariate(rate)
        first = min(range(servers), key=free.__getitem__)
        free[first] = max(now, free[first]) + service()
        if now > WARMUP_S:
            times.append(free[first] - now)
    times.sort()
    return times[math.ceil(QUANTILE * len(times)) - 1]


def waits_in_m_d_1(rate: float, service: float, limit: float) -> float:
    """Return how likely a response of M/D/1 comes within a limit: Erlang's formula, 1909."""
    waited = limit - service
    if waited < 0:
        return 0.0
    terms = (
        (rate * (n * service - waited)) ** n / math.factorial(n)
        * math.exp(-rate * (n * service - waited))
        for n in range(int(waited / service) + 1)
    )  # fmt: skip
    return (1 - rate * service) * math.fsum(terms)


def within_in_m_m_c(rate: float, mean: float, servers: int, limit: float) -> float:
    """Return how likely a response of M/M/c comes within a limit: Erlang's C formula, 1917."""
    load, per_server = rate * mean, 1 / mean
    busy = load**servers / math.factorial(servers) / (1 - load / servers)
    must_wait = busy / (sum(load**n / math.factorial(n) for n in range(servers)) + busy)
    spare = servers * per_server - rate
    served = math.exp(-per_server * limit)
    if math.isclose(spare, per_server):
        return 1 - served - must_wait * per_server * limit * served
    waited = (math.exp(-spare * limit) - served) * per_server / (per_server - spare)
    return 1 - served - must_wait * waited


def highest(within: Callable[[float], float], top: float) -> float:
    """Return the highest rate of which 99 % come within the limit, by bisection."""
    low, high = 0.0, top * (1 - 1e-9)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle) >= QUANTILE else (low, middle)
    return low


def search(held: Callable[[float], bool], lowest: float, highest: float) -> CapacitySearch:
    """Search to the end."""
    found = CapacitySearch(lowest, highest)
    while not found.is_over:
        rate = found.next_rate()
        found.add(rate, held=held(rate))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_the_capacity_of_m_d_1_is_found_within_five_percent(seed: int) -> None:
    rng, service, limit = random.Random(seed), 0.005, 0.03
    known = highest(lambda rate: waits_in_m_d_1(rate, service, limit), 1 / service)
    found = search(lambda rate: step(rate, 1, lambda: service, rng) < limit, 2, 2 / service)
    assert found.interval().middle == pytest.approx(known, rel=0.05)
    assert found.steps < 30


@pytest.mark.parametrize("seed", range(3))
def test_the_capacity_of_m_m_c_is_found_within_five_percent(seed: int) -> None:
    rng, mean, limit, servers = random.Random(seed), 0.02, 0.15, 4
    known = highest(lambda rate: within_in_m_m_c(rate, mean, servers, limit), servers / mean)
    exponential = lambda: rng.expovariate(1 / mean)  # noqa: E731
    found = search(lambda rate: step(rate, servers, exponential, rng) < limit, 2, 400)
    assert found.interval().middle == pytest.approx(known, rel=0.05)
    assert found.steps < 30


@given(st.floats(2, 90_000), st.integers(0, 2**32))
def test_a_limit_is_found_wherever_it_is(limit: float, seed: int) -> None:
    rng = random.Random(seed)
    found = search(lambda rate: rate * rng.gauss(1, 0.01) < limit, 1, 100_000)
    low, middle, high = found.interval()
    assert low <= middle <= high
    assert middle == pytest.approx(limit, rel=0.05)


def test_one_mishap_does_not_decide() -> None:
    steps = iter([False, *[None] * 40])  # the first one fails, whatever its rate

    def held(rate: float) -> bool:
        return next(steps) is None and rate < 50_000

    assert search(held, 1, 100_000).interval().middle == pytest.approx(50_000, rel=0.05)


def test_it_says_when_the_limit_is_beyond_the_range() -> None:
    above, below = (search(lambda _, held=held: held, 10, 1000) for held in (True, False))
    assert above.reaches_top
    assert not above.reaches_bottom
    assert below.reaches_bottom
    assert not below.reaches_top


def test_it_is_right_as_often_as_it_says() -> None:
    """95 % sure: of a hundred searches with chance as in a real step, few are wrong."""
    rng, limit = random.Random(1), 700.0
    right = 0
    for _ in range(60):
        found = search(lambda rate: rate * rng.gauss(1, 0.03) < limit, 10, 10_000).interval()
        right += found.low <= limit <= found.high
    assert right >= 54  # of 57 expected: by the binomial distribution, fewer once in 30 runs


@given(st.floats(10, 10_000), st.floats(0, 0.3), st.floats(0, 0.01), st.integers(1, 1000))
def test_the_law_that_made_the_rates_is_found(a: float, b: float, c: float, top: int) -> None:
    numbers = sorted({1, 2, 4, 8, 16, 32, 64, top})
    rates = [(n, a * n / (1 + b * (n - 1) + c * n * (n - 1))) for n in numbers]
    law = fit_scalability(rates)
    assert law
    for n, rate in rates:
        assert law.rate(n) == pytest.approx(rate, rel=0.001)
    assert law.per_connection == pytest.approx(a, rel=0.01)
    assert law.fit > 0.99 or b + c < 1e-6


def test_a_rate_that_falls_has_a_peak_and_one_that_grows_has_none() -> None:
    law = fit_scalability(
        (n, 100 * n / (1 + 0.1 * (n - 1) + 0.001 * n * (n - 1))) for n in range(1, 99, 9)
    )
    assert law
    assert law.peak == pytest.approx(30, rel=0.01)
    grown = fit_scalability((n, 100 * n) for n in (1, 2, 3, 4))
    assert grown
    assert math.isinf(grown.peak)
    assert fit_scalability([(1, 10), (2, 20), (2, 21), (3, 30)]) is None
