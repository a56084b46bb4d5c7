"""The search for a capacity: against queues whose capacity is known, and how it ends."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abench.errors import ParameterError, UnreachableError
from abench.plan.plan import Plan
from abench.report.capacity_text import sentences, table
from abench.runner.capacity import Bounds, Tools, find_capacity
from abench.stats.capacity import End, Outcome
from abench.stats.capacity_search import CapacitySearch, Interval
from abench.stats.objective import Objective, parse_objectives
from abench.stats.parts import ServerResult, Warmup
from benchmarks.queueing import highest_rate, within_in_m_d_1, within_in_m_m_c
from tests.abench.queue_models import m_d_1, m_m_c
from tests.marks import slow_except

URL = "http://127.0.0.1:8000/"
STEP = Plan(url=URL, rate=1.0, arrivals="poisson")
LONG = Bounds(step_s=10, limit_s=600)
SURER = Bounds(step_s=10, limit_s=1800, tolerance=0.03)
"""By default, one answer in twenty may be wrong by more than 5 %."""


def find(queue, *slo, bounds=LONG, run=None, **tools):
    """Search with a queue as the server, by its own clock."""
    tools = {"clock": lambda: queue.now_s, "pause": lambda _: None, **tools}
    plan = replace(STEP, seed=1_000 * queue.seed)
    return find_capacity(plan, parse_objectives(slo), run or queue, bounds, Tools(**tools))


@pytest.mark.parametrize("seed", slow_except(range(12), 10))
def test_the_capacity_of_m_d_1_is_found_within_five_percent(seed):
    known = highest_rate(lambda rate: within_in_m_d_1(rate, 0.002, 0.015), 500)
    found = find(m_d_1(0.002, seed), "p99<15ms", bounds=SURER)
    assert found.outcome is Outcome.FOUND
    assert found.interval.middle == pytest.approx(known, rel=0.05)


@pytest.mark.parametrize("seed", slow_except(range(12), 2))
def test_the_capacity_of_m_m_c_is_found_within_five_percent(seed):
    known = highest_rate(lambda rate: within_in_m_m_c(rate, 0.01, 4, 0.06), 400)
    found = find(m_m_c(4, 0.01, seed), "p99<60ms", bounds=SURER)
    assert found.interval.middle == pytest.approx(known, rel=0.05)


@pytest.mark.slow
def test_the_interval_contains_the_capacity_as_often_as_it_says():
    """In short searches as well. 38 of 40 are expected; fewer than 34 once in 70 runs by chance."""
    known = highest_rate(lambda rate: within_in_m_m_c(rate, 0.001, 1, 0.05), 1000)
    right = 0
    for seed in range(40):
        low, _, high = find(m_m_c(1, 0.001, seed), "p99<50ms", bounds=Bounds()).interval
        right += low <= known <= high
    assert right >= 34


def count_at(limit, rng=None, allowed=50):
    """Return the count of a step for a server whose share grows with the 20th power of the rate."""
    return lambda rate: (
        allowed * (rate / limit) ** 20 * (rng.gauss(1, 0.2) if rng else 1),
        allowed,
    )


def search(count, lowest, highest, **options):
    found = CapacitySearch(lowest, highest, **options)
    while not found.is_over:
        rate = found.next_rate
        beyond, allowed = count(rate)
        found.add(rate, max(0, beyond), allowed)
    return found


@given(limit=st.floats(110, 900), seed=st.integers(0, 2**32))
def test_a_limit_is_found_wherever_it_is(limit, seed):
    found = search(count_at(limit, random.Random(seed)), 100, 1_000, max_steps=15)
    low, middle, high = found.interval
    assert low <= middle <= high
    assert middle == pytest.approx(limit, rel=0.05)


def test_a_mishap_does_not_decide():
    counts = count_at(500)
    found = CapacitySearch(100, 1_000)
    for number in range(20):
        rate = found.next_rate
        found.add(rate, *((1e6, 50) if number == 9 else counts(rate)))
    assert found.interval.middle == pytest.approx(500, rel=0.05)


def test_a_few_steps_are_never_sure():
    found = CapacitySearch(50, 200)
    for _ in range(7):
        found.add(100, 50, 50)
    assert not found.is_sure
    for _ in range(40):
        found.add(found.next_rate, 50 * (found.next_rate / 100) ** 20, 50)
    assert found.is_sure


def test_it_begins_below_the_capacity_and_warms_each_step_up():
    queue = m_d_1(0.01)
    found = find(queue, "p99<80ms", bounds=Bounds(limit_s=48))
    closed, first, second, third, *_ = queue.plans
    assert (closed.rate, closed.schedule, closed.warmup_s) == (None, None, 0)
    assert [step.rate for step in (first, second, third)] == pytest.approx([25, 50, 75])
    assert all(plan.warmup_s == pytest.approx(0.2 * plan.duration_s) for plan in queue.plans[1:])
    assert all(plan.arrivals == "poisson" for plan in queue.plans[1:])
    assert {step.held for step in found.steps} == {True, False}


def test_a_queue_has_the_time_to_grow_as_long_as_the_limit():
    """Of 1 s, when 5 % more comes than is served: in 20 s."""
    queue = m_d_1(0.01)
    find(queue, "mean<1s", bounds=Bounds(limit_s=400))
    assert min(plan.duration_s for plan in queue.plans if plan.schedule) == 20.0


def test_chance_differs_from_step_to_step():
    """One that came again in each step would be no reason to be surer."""
    queue = m_d_1(0.002)
    find(queue, "p99<15ms", bounds=Bounds())
    steps = [plan for plan in queue.plans if plan.schedule]
    firsts = {next(plan.schedule.times())[1] * plan.rate for plan in steps}
    assert len(firsts) == len(steps) > 3


def test_a_warm_up_and_connections_that_were_given_are_kept():
    queue = m_d_1(0.01)
    plan = replace(STEP, warmup_s=3.0)
    tools = Tools(clock=lambda: queue.now_s)
    bounds = Bounds(limit_s=60, connections=7)
    find_capacity(plan, parse_objectives(["p99<80ms"]), queue, bounds, tools)
    assert {plan.warmup_s for plan in queue.plans[1:]} == {3.0}
    assert {plan.connections for plan in queue.plans} == {7}


@pytest.mark.parametrize(
    ("slo", "reached", "connections"), [("p99<50ms", 10_000, 750), ("p99<1ms", 10_000, 64)]
)
def test_connections_are_chosen_by_littles_law(slo, reached, connections):
    queue = m_d_1(1 / reached)
    find(queue, slo, bounds=Bounds(step_s=0.5), stopped_by=lambda: len(queue.plans) // 2)
    assert queue.plans[1].connections == connections


def test_it_ends_in_its_time_and_says_so():
    queue = m_m_c(4, 0.02)
    found = find(queue, "p99<150ms", bounds=Bounds(limit_s=48))
    assert found.end is End.TIME
    assert queue.now_s <= 48 + 2
    assert "Its time of 48 s was over after" in " ".join(sentences(found))


@pytest.mark.parametrize("runs", [0, 1, 5])
def test_an_interrupted_search_says_what_it_knows(runs):
    """A run that was stopped is no step: its rate was not that of a whole one."""
    queue = m_d_1(0.01)

    def run(plan):
        report = queue(plan)
        return report if len(queue.plans) <= runs else replace(report, stopped_by=2)

    found = find(queue, "p99<80ms", run=run)
    assert (found.end, found.stopped_by) == (End.SIGNAL, 2)
    assert len(found.steps) == max(0, runs - 1)
    text = " ".join(sentences(found))
    assert ("nothing is known" in text) == (runs < 2)
    if runs == 5:
        assert "It was interrupted by SIGINT after 4 steps: this is what is known so far." in text


def test_a_signal_between_two_runs_ends_the_search():
    queue = m_d_1(0.01)
    found = find(queue, "p99<80ms", stopped_by=lambda: 15 if len(queue.plans) == 4 else None)
    assert (found.end, found.stopped_by, len(found.steps)) == (End.SIGNAL, 15, 3)


def test_a_server_that_recovers_is_waited_for_and_one_that_does_not_ends_the_search():
    queue, pauses = m_d_1(0.01), []
    broken = iter([False, False, True, False, True, True, True])

    def run(plan):
        if next(broken):
            raise UnreachableError("127.0.0.1", 8000, "connection refused")
        return queue(plan)

    found = find(queue, "p99<80ms", run=run, pause=pauses.append)
    assert (found.end, len(found.steps)) == (End.UNREACHABLE, 2)
    assert pauses == [1.0, 1.0, 1.0]
    assert "cannot reach 127.0.0.1:8000: connection refused" in " ".join(sentences(found))


def test_a_server_that_never_succeeds_is_unreachable():
    queue = m_d_1(0.01)
    with pytest.raises(UnreachableError, match="no request succeeded"):
        find(queue, "p99<80ms", run=lambda plan: queue.results(plan, [], failed=10))


def test_an_error_of_abench_itself_ends_the_search():
    queue = m_d_1(0.01)

    def run(plan):
        report = queue(plan)
        return report if len(queue.plans) < 4 else replace(report, lost_workers=1)

    found = find(queue, "p99<80ms", run=run)
    assert (found.end, found.problem) == (End.FAULT, "1 of its workers died")


def test_no_rate_may_hold():
    found = find(m_d_1(0.01), "p99<5ms")
    assert (found.outcome, found.end) == (Outcome.NO_RATE_HOLDS, End.BOUND)
    assert sentences(found)[0].startswith("No rate was found that holds p99<5ms and errors<1%: not")
    assert sentences(found)[1].startswith("p99<5ms is broken there (at ")
    assert found.at_least == 0
    assert len(found.steps) < 10


def test_every_rate_up_to_the_highest_may_hold():
    queue = m_d_1(0.001)
    found = find(queue, "p99<15ms", bounds=replace(LONG, highest=500))
    assert (found.outcome, found.end) == (Outcome.EVERY_RATE_HOLDS, End.BOUND)
    assert found.at_least == pytest.approx(500, rel=0.05)
    assert max(plan.rate or 0 for plan in queue.plans) == 500
    assert "so the capacity is higher" in sentences(found)[0]
    assert len(found.steps) < 10


def test_the_client_may_be_the_limit():
    queue = m_d_1(0.002)
    queue.client_cpu = 0.99
    found = find(queue, "p99<15ms", bounds=Bounds(limit_s=90))
    assert found.outcome is Outcome.CLIENT
    assert "this client is the limit, and the server may hold more" in sentences(found)[0]
    assert "because this client's CPU is full (99 % of a core)" in sentences(found)[1]
    assert found.at_least == found.interval.low


def test_the_sentence_says_why_it_is_no_higher():
    """CPU time of the warm-up is the server's as well: 6 s in a step of 5 s are a core."""
    queue = m_d_1(0.002)

    def run(plan):
        used = 0.97 * (plan.warmup_s + plan.duration_s)
        server = ServerResult(used, 1.0, 0, ended=False)
        return replace(queue(plan), server=server, warmup=Warmup(plan.warmup_s, 0, None))

    found = find(queue, "p99<15ms", run=run, bounds=Bounds(limit_s=90))
    answer, why, *_ = sentences(found)
    assert " requests/s hold p99<15ms and errors<1%: 95 % sure it is between " in answer
    assert why.startswith("Above it p99<15ms no longer holds (at ")
    assert why.endswith("because the server's CPU is full (it used 97 % of a core).")
    assert {row[5] for row in table(found)} == {"97 %"}
    higher = replace(found, interval=Interval(9_000, 9_500, 10_000))
    assert sentences(higher)[1].startswith("Close to it p99<15ms did not always hold (at ")


def test_what_waits_for_something_else_is_not_called_busy():
    found = find(
        queue := m_d_1(0.002),
        "p99<15ms",
        run=lambda plan: replace(queue(plan), server=ServerResult(0.1, 1.0, 0, ended=False)),
        bounds=Bounds(limit_s=90),
    )
    assert "although neither side's CPU is full" in sentences(found)[1]


def test_a_step_that_contradicts_the_others_is_named():
    queue = m_d_1(0.002)

    def run(plan):
        report = queue(plan)
        if len(queue.plans) == 3:  # the second step, at half of the rate
            return queue.results(plan, [90_000] * 1250)
        return report

    found = find(queue, "p99<15ms", run=run, bounds=Bounds(limit_s=90))
    assert [step.offered for step in found.odd] == pytest.approx([250], rel=0.1)
    assert "contradict the others" in " ".join(sentences(found))


def test_a_schedule_that_is_not_met_is_broken_whatever_the_latencies():
    queue = m_d_1(0.002)

    def run(plan):
        report = queue(plan)
        if plan.rate is None or plan.rate < 300:
            return report
        sent = round(300 * plan.duration_s)
        missing = round(plan.rate * plan.duration_s) - sent
        return queue.results(plan, [2_000] * sent, skipped=missing)

    found = find(queue, "p99<50ms", run=run, bounds=Bounds(limit_s=90))
    assert found.interval.middle == pytest.approx(300, rel=0.05)
    assert "the rate" in sentences(found)[1]


@pytest.mark.parametrize(("highest", "knee"), [(1_500, 1_000), (1_090, None)])
def test_a_knee_is_known_if_there_are_steps_on_both_sides_of_it(highest, knee):
    """Power is 0.5, 1 and 0.75 requests per second and microsecond of a response."""
    found = find(m_d_1(0.002), "p99<15ms", bounds=Bounds(limit_s=60))
    steps = [
        replace(found.steps[0], offered=rate, pages_per_sec=rate, mean_us=mean)
        for rate, mean in ((500, 1_000.0), (1_000, 1_000.0), (highest, 2_000.0))
    ]
    located = replace(found, steps=tuple(steps)).knee
    assert (located.offered if located else None) == knee


def test_errors_are_an_objective_without_being_named():
    queue = m_d_1(0.002)

    def run(plan):
        if plan.rate is None or plan.rate < 200:
            return queue(plan)
        requests = round(plan.rate * plan.duration_s)
        return queue.results(plan, [2_000] * (requests * 9 // 10), failed=requests // 10)

    found = find(queue, "p99<50ms", run=run, bounds=Bounds(limit_s=90))
    assert found.interval.middle == pytest.approx(200, rel=0.05)
    assert "errors was 10" in sentences(found)[1]


@pytest.mark.parametrize(
    ("slo", "message"),
    [
        ("p99>50ms", "say what must hold"),
        ("pages<50", "the rate is what is searched"),
        ("p99<50", "the unit of p99 is one of"),
        ("soon", "is no condition such as p99<50ms or errors<0.1%"),
        ("speed<5", "speed is not one of"),
    ],
)
def test_what_is_no_objective(slo, message):
    with pytest.raises(ParameterError, match=f"^--slo: .*{message}"):
        Objective.parse(slo)


@pytest.mark.parametrize(
    ("slo", "count", "requests"),
    [
        ("p99<3ms", (20, 9.9), 1000),
        ("p99.9<3ms", (20, 0.99), 10_000),
        ("service.p50<3ms", (20, 495), 20),
        ("errors<0.1%", (10, 1), 10_000),
        ("errors<5", (math.inf, 10), 20),
        ("mean<1s", (0, 10), 20),
        ("max<1ms", (math.inf, 10), 20),
    ],
)
def test_how_many_requests_are_beyond_an_objective(slo, count, requests):
    plan = replace(STEP, rate=100.0, duration_s=10.0)
    report = m_d_1(0.01).results(plan, [1_000] * 970 + [9_000] * 20, failed=10)
    objective = Objective.parse(slo)
    assert objective.count(report) == pytest.approx(count)
    assert objective.needed_requests == requests


def test_nothing_is_added_to_objectives_that_name_errors():
    assert [one.text for one in parse_objectives(["p99<1s"])] == ["p99<1s", "errors<1%"]
    assert [one.text for one in parse_objectives(["errors<5%"])] == ["errors<5%"]
    assert parse_objectives([]) == ()
