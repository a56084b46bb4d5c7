"""Requested, offered and achieved rates, of runs of any length and of their stages."""

import io
from collections import Counter
from dataclasses import replace

import pytest

from abench.plan.log_entries import LogEntry, RecordedLog
from abench.plan.plan import Plan
from abench.plan.schedule import Schedule
from abench.report import document
from abench.report.html import write_html
from abench.report.text import write_text
from abench.stats import phrases
from abench.stats.bottleneck import find_bottleneck
from abench.stats.histogram import Histogram
from abench.stats.phrases import describe_schedule
from abench.stats.results import build_results
from abench.stats.stages import StageStats
from abench.stats.summary import Summary
from abench.stats.thresholds import Condition, evaluate

URL = "http://127.0.0.1:8000/"
SECOND = 1_000_000_000


def met_schedule(rate, length_s, parts=3):
    """Return the plan and the counts of a run whose requests all started when due."""
    plan = Plan(url=URL, rate=rate, duration_s=length_s)
    due = sum(
        Schedule(plan.schedule.stages, "constant", p, parts).missed(p, length_s)
        for p in range(parts)
    )
    return plan, Summary(started=due, elapsed_ns=round(length_s * SECOND) + 300_000)


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.9, 1.0, 3.3, 7.0, 1000.0])
@pytest.mark.parametrize("length_s", [0.05, 0.3, 1.0, 2.0, 9.5, 3600.0])
def test_offered_rate_is_the_requested_rate_at_any_length(rate, length_s):
    plan, summary = met_schedule(rate, length_s)
    schedule = build_results(plan, summary).schedule
    assert summary.started == pytest.approx(rate * length_s, abs=1)
    assert (schedule.requested, schedule.offered, schedule.achieved) == (
        rate,
        pytest.approx(rate),
        schedule.offered,
    )
    assert schedule.is_met


def test_low_rates_are_printed_exactly():
    plan, summary = met_schedule(0.1, 2.0)
    phrases = "0.10/sec requested   0.10/sec offered   0.10/sec achieved"
    assert describe_schedule(build_results(plan, summary).schedule) == phrases
    assert "0.001/sec offered" in describe_schedule(
        build_results(*met_schedule(0.001, 5.0)).schedule
    )


def test_skipped_requests_are_not_achieved():
    plan, summary = met_schedule(100.0, 10.0)
    summary.started, summary.skipped = 400, 600
    schedule = build_results(plan, summary).schedule
    assert (schedule.offered, schedule.achieved) == (100, pytest.approx(40))
    assert not schedule.is_met


@pytest.mark.parametrize(("skipped", "is_met"), [(1, True), (10, True), (11, False)])
def test_requests_due_at_the_end_do_not_miss_the_rate(skipped, is_met):
    plan, summary = met_schedule(100.0, 10.0)
    summary.started, summary.late, summary.skipped = 1000 - skipped, 250, skipped
    summary.service = summary.response = Histogram.of([1000] * summary.started)
    report = build_results(plan, summary)
    assert report.schedule.is_met is is_met
    assert ("The rate was reached, but 25" in find_bottleneck(report).sentence) is is_met
    failed = [one.text for one in evaluate([Condition.parse("errors>1")], report) if one.failed]
    assert failed == ([] if is_met else ["achieved<99%"])


def test_rate_of_a_number_of_requests_ends_with_the_last_start():
    plan = Plan(url=URL, rate=500.0, requests=40)
    quick = Summary(started=40, last_start_ns=78 * SECOND // 1000, elapsed_ns=2 * SECOND)
    schedule = build_results(plan, quick).schedule
    assert (schedule.offered, schedule.achieved, schedule.is_met) == (500, 500, True)
    slow = Summary(started=40, late=39, last_start_ns=10 * SECOND, elapsed_ns=11 * SECOND)
    schedule = build_results(plan, slow).schedule
    assert schedule.offered == 500
    assert schedule.achieved == pytest.approx(4, rel=0.02)
    assert not schedule.is_met


def test_random_arrivals_are_counted():
    plan = Plan(url=URL, rate=100.0, duration_s=1.0, arrivals="poisson")
    schedule = build_results(plan, Summary(started=93, elapsed_ns=SECOND)).schedule
    assert (schedule.requested, schedule.offered, schedule.achieved) == (100, 93, 93)


def test_offered_rate_of_a_log():
    log = RecordedLog(tuple(LogEntry(at / 10, "GET", "/") for at in range(21)))
    summary = Summary(started=21, last_start_ns=2 * SECOND, elapsed_ns=9 * SECOND)
    schedule = build_results(Plan(url=URL, replay=log), summary).schedule
    assert (schedule.requested, schedule.offered, schedule.is_met) == (
        None,
        pytest.approx(10.5),
        True,
    )


def staged(late=0, stages="4s@200,ramp:6s@200-4000,4s@4000"):
    times = Histogram.of([1_000] * 20_000 + [675_000] * 9_000)
    quick, slow = Histogram.of([1_000] * 12_600), Histogram.of([675_000] * 15_990)
    first = Histogram.of([1_000] * 800)
    counts = {
        0: StageStats(800, service=first, response=first),
        1: StageStats(12_600, service=quick, response=quick),
        2: StageStats(16_000, late, unfinished=5, service=slow, response=slow),
    }
    summary = Summary(
        started=29_400, late=late, elapsed_ns=14 * SECOND, service=times, response=times,
        stages=counts, failures=Counter(reset=5), unfinished=5,
    )  # fmt: skip
    return build_results(Plan(url=URL, stages=stages), summary)


def test_late_rate_is_reported_as_late():
    found = find_bottleneck(staged(late=7_056))
    assert found.limiter == "schedule"
    assert found.confidence == "likely"
    assert found.sentence == (
        "The rate was reached, but 24 % of requests started late, 44.1 % in 4s@4000: "
        "response times are 675 ms at p99."
    )
    assert "it was met" in find_bottleneck(staged(late=200)).sentence


@pytest.mark.parametrize("more", [{"duration_s": 3.0}, {"requests": 300}])
def test_requests_of_a_dead_worker_are_skipped(more):
    """A dead worker reports nothing: a run with half of the requests did not meet its rate."""
    half = Summary(started=200, lost=1, last_start_ns=29 * SECOND // 10, elapsed_ns=3 * SECOND)
    schedule = build_results(Plan(url=URL, rate=100.0, **more), half).schedule
    assert (schedule.due, schedule.started, schedule.skipped) == (300, 200, 100)
    assert (schedule.offered, schedule.achieved) == (100, pytest.approx(200 / 3))
    assert not schedule.is_met


def test_requests_of_a_dead_worker_are_skipped_in_a_stage():
    times = Histogram.of([1_000] * 100)
    counts = {0: StageStats(100, service=times, response=times), 1: StageStats(50)}
    summary = Summary(started=150, lost=1, elapsed_ns=3 * SECOND, stages=counts)
    first, last = build_results(Plan(url=URL, stages="1s@100,2s@100"), summary).stages
    assert (first.schedule.skipped, last.schedule.skipped) == (0, 150)
    assert (first.schedule.achieved, last.schedule.achieved) == (100, 25)


@pytest.mark.virtual_time
async def test_started_requests_are_reported_during_the_run(serve, run_plan, ok_response):
    """A worker reports the requests it has started during the run, in case it dies."""
    server = await serve(ok_response)
    plan = {"url": server.url, "connections": 2, "stages": "300ms@100,300ms@100"}
    carried = await run_plan(**plan)
    summaries = [message for message in carried.messages if isinstance(message, Summary)]
    assert 0 < sum(one.started for one in summaries) <= carried.summary.started == 60
    for number, stage in carried.summary.stages.items():
        parts = [one.stages[number].started for one in summaries if number in one.stages]
        assert sum(parts) <= stage.started == 30
    assert any(0 in one.stages for one in summaries)


def test_only_a_worse_stage_is_named():
    schedule = build_results(
        Plan(url=URL, rate=100.0), Summary(started=200, late=9, elapsed_ns=SECOND)
    ).schedule
    first, *_, last = staged().stages
    short = replace(first, schedule=replace(first.schedule, started=50, late=4))
    long = replace(last, schedule=replace(last.schedule, started=150, late=5))
    assert phrases.describe_late(schedule, (short, long)) == "4.5 % of requests started late"
    long = replace(last, schedule=replace(last.schedule, started=100, late=5))
    assert phrases.describe_late(schedule, (short, long)).endswith("started late, 5 % in 4s@4000")


def test_each_stage_has_its_own_results():
    first, ramp, last = staged(late=7_056).stages
    assert [one.text for one in (first, ramp, last)] == ["4s@200", "ramp:6s@200-4000", "4s@4000"]
    assert [one.schedule.offered for one in (first, ramp, last)] == [200, 2100, 4000]
    assert [one.schedule.achieved for one in (first, ramp, last)] == [200, 2100, 4000]
    assert (last.from_s, last.length_s, last.succeeded, last.failed) == (10, 4, 15_990, 5)
    assert first.response.percentiles["p99"] < 2_000
    assert last.response.percentiles["p99"] > 600_000


def test_unreached_stage_is_left_out():
    plan = Plan(url=URL, stages="1s@10,1s@20,1s@30")
    stages = build_results(plan, Summary(started=20, elapsed_ns=3 * SECOND // 2)).stages
    assert [(one.text, one.length_s) for one in stages] == [("1s@10", 1), ("1s@20", 0.5)]


@pytest.mark.virtual_time
async def test_stages_add_up_to_the_run(serve, run_plan, ok_response):
    """In the last stage two of three connections hang: requests wait or are skipped."""

    def script(peer):
        if len(server.requests) <= 60 or len(server.requests) % 3 == 0:
            peer.send(ok_response)
        elif len(server.requests) == 70:
            peer.transport.abort()

    server = await serve(script)
    plan = {"url": server.url, "connections": 3, "stages": "300ms@100,300ms@100,400ms@200"}
    summary = (await run_plan(**plan)).summary
    report = build_results(Plan(**plan), summary)
    for name in ("started", "late", "skipped", "unfinished"):
        assert sum(getattr(one, name) for one in summary.stages.values()) == getattr(summary, name)
    for name in ("service", "response"):
        whole = Histogram()
        for one in summary.stages.values():
            whole.merge(getattr(one, name))
        assert whole == getattr(summary, name)
    assert [one.schedule.due for one in report.stages] == [30, 30, 80]
    assert sum(one.failed for one in report.stages) == report.failed
    assert report.stages[2].unfinished >= 1


@pytest.mark.virtual_time
async def test_stages_are_in_every_form(serve, run_plan, ok_response, without_plots):
    server = await serve(ok_response)
    plan = {"url": server.url, "connections": 4, "stages": "200ms@100,ramp:200ms@100-300"}
    report = build_results(Plan(**plan), (await run_plan(**plan)).summary)
    first, ramp = document.to_document(report)["schedule"]["by_stage"]
    assert (first["stage"], first["due"], ramp["stage"], ramp["due"]) == (
        "200ms@100", 20, "ramp:200ms@100-300", 40,
    )  # fmt: skip
    assert (first["succeeded"], ramp["succeeded"]) == (20, 40)
    text, page = io.StringIO(), io.StringIO()
    write_text(report, text)
    write_html(report, page)
    lines = [line.split() for line in text.getvalue().splitlines()]
    (names,) = [line for line in lines if line[:2] == ["stage", "offered/s"]]
    assert {"stage", "offered/s", "achieved/s", "late", "failed", "p50", "p99"} <= set(names)
    rows = {"200ms@100", "ramp:200ms@100-300"}
    assert [line[:2] for line in lines if (line or [""])[0] in rows] == [
        ["200ms@100", "100"], ["ramp:200ms@100-300", "200"],
    ]  # fmt: skip
    assert "<h2>Stages</h2>" in page.getvalue()
