"""Conditions of --fail-if: valid, invalid, and their results."""

import contextlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abench.errors import ParameterError
from abench.plan.plan import Plan
from abench.stats.coverage import Coverage
from abench.stats.histogram import Histogram
from abench.stats.phases import Phases
from abench.stats.results import build_results
from abench.stats.summary import Summary
from abench.stats.thresholds import Condition, evaluate

CLOSED = Plan(url="http://h/", duration_s=10.0)
SCHEDULED = Plan(url="http://h/", duration_s=10.0, rate=100.0)


def report(plan=CLOSED, **more):
    """Return 1,000 requests of 1 to 1,000 ms in 10 s, 10 failures; response times 1 s longer."""
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
    return build_results(plan, Summary(**counted))


@pytest.mark.parametrize(
    ("text", "failed"),
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
def test_condition_is_evaluated(text, failed):
    (threshold,) = evaluate([Condition.parse(text)], report())
    assert threshold.failed == failed
    assert threshold.text == text


def test_with_a_schedule_latency_is_the_response_time():
    conditions = [Condition.parse(one) for one in ("p50<1s", "service.p50<1s", "response.p50<1s")]
    assert [one.failed for one in evaluate(conditions, report(SCHEDULED))] == [False, True, False]


def test_phases_have_conditions_of_their_own():
    counted = Phases(connect=Histogram.of([50]), handshake=Histogram.of([3_000] * 9 + [40_000]))
    over_tls = report(Plan(url="https://h/", duration_s=10.0), phases=counted)
    texts = ("connect.max>1ms", "handshake.p50<3ms", "handshake.p99>20ms", "request.p50<1s")
    failed = [one.failed for one in evaluate([Condition.parse(one) for one in texts], over_tls)]
    assert failed == [False, False, True, True]  # what was not measured has failed


def test_missed_rate_fails_with_any_condition():
    scheduled = report(SCHEDULED, started=900, skipped=100)
    failed = [one for one in evaluate([Condition.parse("errors>50%")], scheduled) if one.failed]
    assert [one.text for one in failed] == ["achieved<99%"]
    assert evaluate([], scheduled) == ()


def test_unmeasured_metric_fails():
    nothing = build_results(CLOSED, Summary(elapsed_ns=10**9))
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
def test_closed_loop_has_no_schedule_metrics(text):
    (threshold,) = evaluate([Condition.parse(text)], report())
    assert (threshold.failed, threshold.measured) == (True, "-")


@pytest.mark.parametrize(
    "text", ["pages<1", "pages>1/s", "late>0", "skipped>0", "achieved<1", "min>1s", "silence>1s"]
)
@pytest.mark.parametrize("plan", [CLOSED, SCHEDULED])
def test_run_that_never_started_has_no_metrics(text, plan):
    (threshold,) = evaluate([Condition.parse(text)], build_results(plan, Summary()))[:1]
    assert (threshold.failed, threshold.measured) == (True, "-")


def test_silence_is_a_duration():
    answering = Coverage(spans=[(0, 2_000), (4_500, 10_000)])
    silent = report(answering=answering)
    for text, failed in (("silence>2s", True), ("silence>=2500ms", True), ("silence>3s", False)):
        (threshold,) = evaluate([Condition.parse(text)], silent)
        assert (threshold.failed, threshold.measured) == (failed, "2.50 s")


def test_pauses_count_as_errors_in_a_closed_loop():
    paused = 30 * 10**9  # of 100 s that ten connections had
    gate = [Condition.parse("errors>30%")]
    assert evaluate(gate, report(paused_ns=paused))[0].measured == "30.7 %"
    assert evaluate(gate, report(SCHEDULED, paused_ns=paused))[0].measured == "0.99 %"


def test_waits_are_included_in_every_latency():
    waits = Histogram.of([500_000, 5_000_000])
    for text, measured in (("max>1s", "5.00 s"), ("p99.99>1s", "5.00 s"), ("p50>1s", "501 ms")):
        assert evaluate([Condition.parse(text)], report(waits=waits))[0].measured == measured


@pytest.mark.parametrize(
    "text",
    ["", "p99", "p99>", "p99>50", "p99>50%", "p100>1ms", "errors>1ms", "speed>1", "p99=1ms",
     "pages<1ms", "service.errors>1", "silence>1", "silence>1%", "service.silence>1s",
     "errors>-1", "errors>1e9"],
)  # fmt: skip
def test_invalid_condition_is_refused(text):
    with pytest.raises(ParameterError, match=r"^--fail-if: "):
        Condition.parse(text)


@given(st.text())
def test_any_text_is_a_condition_or_refused(text):
    with contextlib.suppress(ParameterError):
        Condition.parse(text).evaluate(report())
