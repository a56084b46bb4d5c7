"""Conditions: what they mean, and what is none."""

import contextlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abench.errors import ParameterError
from abench.plan.plan import Plan
from abench.stats.coverage import Coverage
from abench.stats.histogram import Histogram
from abench.stats.results import build_report
from abench.stats.summary import Summary
from abench.stats.thresholds import Condition, evaluate

CLOSED = Plan(url="http://h/", duration_s=10.0)
PACED = Plan(url="http://h/", duration_s=10.0, rate=100.0)


def report(plan=CLOSED, **more):
    """1,000 requests in 10 s of 1 to 1,000 ms, and 10 failures; response times 1 s more."""
    service = [ms * 1000 for ms in range(1, 1001)]
    counted = {
        "service": Histogram.of(service),
        "failures": Counter({"reset": 6, "stale": 4}),
        "retried": 8,
        "elapsed_ns": 10_000_000_000,
        "unfinished": 5,
        **more,
    }
    if plan.schedule:
        counted["response"] = Histogram.of([us + 1_000_000 for us in service])
        counted.setdefault("started", 1000)
    return build_report(plan, Summary(**counted))


@pytest.mark.parametrize(
    ("text", "came_true"),
    [
        ("p50>600ms", False),
        ("p50>400ms", True),
        ("p99 > 0.98s", True),
        ("p99.9<999000us", False),
        ("max>=1s", True),
        ("max>1s", False),
        ("min<2ms", True),
        ("mean<=500.5ms", True),
        ("errors>0", True),
        ("errors>10", False),
        ("errors>=0.99%", True),
        ("errors>1%", False),
        ("stale>3", True),
        ("stale>0.4%", False),
        ("retried>=8", True),
        ("retried>1%", False),
        ("unfinished>4", True),
        ("pages<100", False),
        ("pages<=100/s", True),
        ("service.p50>400ms", True),
    ],
)
def test_a_condition_comes_true_or_not(text, came_true):
    (threshold,) = evaluate([Condition.parse(text)], report())
    assert threshold.failed == came_true
    assert threshold.text == text


def test_with_a_schedule_latency_is_from_when_requests_were_due():
    conditions = [Condition.parse(one) for one in ("p50<1s", "service.p50<1s", "response.p50<1s")]
    assert [one.failed for one in evaluate(conditions, report(PACED))] == [False, True, False]


def test_a_rate_that_was_not_met_fails_whatever_else_is_asked():
    paced = report(PACED, started=900, skipped=100)
    failed = [one for one in evaluate([Condition.parse("errors>50%")], paced) if one.failed]
    assert [one.text for one in failed] == ["achieved<99%"]
    assert evaluate([], paced) == ()


def test_what_was_not_measured_has_failed():
    nothing = build_report(CLOSED, Summary(elapsed_ns=10**9))
    for text in (
        "p99>1s",
        "stale>0",
        "retried>5%",
        "errors>50%",
        "errors>0",
        "late>1%",
        "unfinished>5%",
        "max<1s",
    ):
        assert evaluate([Condition.parse(text)], nothing)[0].failed


@pytest.mark.parametrize(
    "text",
    ["late>0", "late>1%", "late<5", "skipped>0", "skipped>1%", "achieved<1", "achieved<90%",
     "achieved>1/s", "response.p99>1s", "response.max<1s"],
)  # fmt: skip
def test_in_a_closed_loop_nothing_of_a_schedule_was_measured(text):
    (threshold,) = evaluate([Condition.parse(text)], report())
    assert (threshold.failed, threshold.measured) == (True, "-")


@pytest.mark.parametrize(
    "text", ["pages<1", "pages>1/s", "late>0", "skipped>0", "achieved<1", "min>1s", "silence>1s"]
)
@pytest.mark.parametrize("plan", [CLOSED, PACED])
def test_of_a_run_that_never_started_nothing_was_measured(text, plan):
    (threshold,) = evaluate([Condition.parse(text)], build_report(plan, Summary()))[:1]
    assert (threshold.failed, threshold.measured) == (True, "-")


def test_silence_is_given_in_time():
    answering = Coverage(intervals=[(0, 2_000), (4_500, 10_000)])
    silent = report(answering=answering)
    for text, came_true in (("silence>2s", True), ("silence>=2500ms", True), ("silence>3s", False)):
        (threshold,) = evaluate([Condition.parse(text)], silent)
        assert (threshold.failed, threshold.measured) == (came_true, "2.50 s")


def test_pauses_count_as_errors_in_a_closed_loop():
    paused = 30 * 10**9  # of 100 s that ten connections had
    gate = [Condition.parse("errors>30%")]
    assert evaluate(gate, report(paused_ns=paused))[0].measured == "30.7 %"
    assert evaluate(gate, report(PACED, paused_ns=paused))[0].measured == "0.99 %"


def test_waits_beyond_the_slowest_answer_are_in_every_latency():
    waits = Histogram.of([500_000, 5_000_000])
    for text, measured in (("max>1s", "5.00 s"), ("p99.99>1s", "5.00 s"), ("p50>1s", "501 ms")):
        assert evaluate([Condition.parse(text)], report(waits=waits))[0].measured == measured


@pytest.mark.parametrize(
    "text",
    ["", "p99", "p99>", "p99>50", "p99>50%", "p100>1ms", "errors>1ms", "speed>1", "p99=1ms",
     "pages<1ms", "service.errors>1", "silence>1", "silence>1%", "service.silence>1s",
     "errors>-1", "errors>1e9"],
)  # fmt: skip
def test_what_is_no_condition_is_said(text):
    with pytest.raises(ParameterError, match=r"^--fail-if: "):
        Condition.parse(text)


@given(st.text())
def test_whatever_is_given_it_is_a_condition_or_refused(text):
    with contextlib.suppress(ParameterError):
        Condition.parse(text).evaluate(report())
