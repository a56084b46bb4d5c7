"""The universal scalability law, and closed loops with more and more connections."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abench.errors import UnreachableError
from abench.plan.plan import Plan
from abench.report.scaling_text import sentences, table
from abench.runner.capacity import Bounds, Tools
from abench.runner.scaling import find_scaling
from abench.stats.capacity import End
from abench.stats.objective import parse_objectives
from abench.stats.scalability import fit_scalability
from tests.abench.queue_models import m_d_1

PLAN = Plan(url="http://127.0.0.1:8000/")


class Law:
    """A server that follows the law; as a function it carries out a plan, without any chance."""

    def __init__(self, a, b, c, errors=(0.0,)):
        self.a, self.b, self.c, self.errors = a, b, c, errors
        self.plans, self.now_s = [], 0.0
        self.queue = m_d_1(0.001)

    def rate(self, n):
        return self.a * n / (1 + self.b * (n - 1) + self.c * n * (n - 1))

    def __call__(self, plan):
        self.now_s += plan.warmup_s + plan.duration_s + 0.3
        error = self.errors[len(self.plans) % len(self.errors)]
        self.plans.append(plan)
        rate = self.rate(plan.connections) * (1 + error)
        latency_us = round(plan.connections / rate * 1e6)
        return self.queue.results(plan, [latency_us] * round(rate * plan.duration_s))


UP_TO_64 = Bounds(connections=64)


def find(server, *slo, run=None, bounds=UP_TO_64, **tools):
    tools = Tools(clock=lambda: server.now_s, pause=lambda _: None, **tools)
    return find_scaling(PLAN, parse_objectives(slo), run or server, bounds, tools)


@given(st.floats(10, 10_000), st.floats(0, 0.3), st.floats(0, 0.01), st.integers(1, 1000))
def test_the_law_that_made_the_rates_is_found(a, b, c, top):
    numbers = sorted({1, 2, 4, 8, 16, 32, 64, top})
    rates = [(n, a * n / (1 + b * (n - 1) + c * n * (n - 1))) for n in numbers]
    law = fit_scalability(rates)
    for n, rate in rates:
        assert law.rate(n) == pytest.approx(rate, rel=0.001)
    assert law.per_connection == pytest.approx(a, rel=0.01)
    assert law.fit > 0.99 or b + c < 1e-6


@given(st.lists(st.tuples(st.integers(1, 500), st.floats(1, 1e5)), min_size=8, max_size=20))
def test_no_coefficient_is_ever_below_0(measured):
    law = fit_scalability(measured)
    if len({n for n, _ in measured}) < 4:
        assert law is None
    elif law:
        assert law.per_connection > 0
        assert law.contention >= 0
        assert law.coherency >= 0
        assert law.peak >= 1


def test_a_rate_that_falls_has_a_peak_and_one_that_grows_has_none():
    law = fit_scalability(
        (n, 100 * n / (1 + 0.1 * (n - 1) + 0.001 * n * (n - 1))) for n in range(1, 99, 9)
    )
    assert law.peak == pytest.approx(30, rel=0.01)
    assert law.ceiling == pytest.approx(law.rate(30), rel=0.01)
    grown = fit_scalability((n, 100 * n) for n in (1, 2, 3, 4))
    assert math.isinf(grown.peak)
    assert math.isinf(grown.ceiling)
    assert fit_scalability([(1, 10), (2, 20), (2, 21), (3, 30)]) is None


def test_each_number_is_measured_three_times_in_changing_directions_within_the_time():
    server = Law(1000, 0.05, 0.001)
    found = find(server, bounds=Bounds(connections=48, limit_s=60))
    up = [1, 2, 4, 8, 16, 32, 48]
    assert [plan.connections for plan in server.plans] == up + up[::-1] + up
    assert all(plan.schedule is None for plan in server.plans)
    assert all(plan.warmup_s > 0 for plan in server.plans)
    assert server.now_s <= 60 + 1e-6
    assert found.end is End.SURE


def test_the_answer_names_the_peak_and_explains_the_coefficients():
    server = Law(1000, 0.05, 0.001, errors=(0.01, -0.01, 0.0, 0.02, -0.02))
    found = find(server, "p99<4ms")
    known = server.rate(math.sqrt(0.95 / 0.001))
    assert found.interval.low <= known <= found.interval.high
    assert found.interval.middle == pytest.approx(known, rel=0.03)
    assert found.best == pytest.approx(31, abs=2)
    answer, one, contention, coherency, fit, objectives = sentences(found)
    assert " requests/s at most, with " in answer
    assert one.startswith("One connection gets ")
    assert contention.startswith("Contention ")
    assert "no number of connections gets more than" in contention
    assert "so the rate falls beyond" in coherency
    assert "of the differences between the numbers of connections." in fit
    assert found.widest_held == 32  # at 9,040/s each waits 3.5 ms, and of 64 at 7,820/s 8.2 ms
    assert "p99<4ms and errors<1% held up to 32 connections: with 64 p99 was 8" in objectives
    assert len(table(found)) == 21


def test_a_rate_that_only_grows_says_so():
    found = find(Law(1000, 0.0, 0.0))
    answer, _, contention, coherency, *_ = sentences(found)
    assert "64 connections, the most that were tried" in answer
    assert contention.startswith("Contention 0:")
    assert coherency.startswith("Coherency 0:")


def test_a_law_that_does_not_fit_is_not_to_be_trusted():
    found = find(Law(1000, 0.05, 0.001, errors=(0.9, -0.8, 0.0, 0.7)))
    assert any("do not trust it" in one for one in sentences(found))


def test_objectives_that_hold_for_all_or_none():
    assert find(Law(1000, 0.05, 0.001), "p99<10s").widest_held == 64
    none = find(Law(1000, 0.05, 0.001), "p99<1us")
    assert none.widest_held == 0
    assert "broke: with 1 p99 was" in sentences(none)[-1]


def test_few_numbers_of_connections_have_no_law():
    found = find(Law(1000, 0.05, 0.001), bounds=Bounds(connections=4))
    assert (found.law, found.interval, found.best) == (None, None, 0)
    assert sentences(found)[0].startswith("The law needs 4 different numbers")


def test_it_is_interrupted_with_what_is_known():
    server = Law(1000, 0.05, 0.001)

    def run(plan):
        report = server(plan)
        return replace(report, stopped_by=15) if len(server.plans) == 7 else report

    found = find(server, run=run)
    assert (found.end, found.stopped_by, len(found.points)) == (End.SIGNAL, 15, 6)
    assert "interrupted by SIGTERM after 6 runs" in sentences(found)[-1]


def test_a_server_without_successes_is_unreachable():
    server = Law(1000, 0.05, 0.001)
    with pytest.raises(UnreachableError, match="no request succeeded"):
        find(server, run=lambda plan: server.queue.results(plan, [], failed=3))
