"""Rates as they were asked for and offered, of runs of any length, and of each of their stages."""

from collections import Counter
from dataclasses import replace

import pytest

from abench.plan.log_replay import LogEntry, RecordedLog
from abench.plan.plan import Plan
from abench.plan.schedule import Schedule
from abench.stats import phrases
from abench.stats.bottleneck import find_bottleneck
from abench.stats.histogram import Histogram
from abench.stats.phrases import describe_schedule
from abench.stats.results import build_report
from abench.stats.stages import StageStats
from abench.stats.summary import Summary
from abench.stats.thresholds import Condition, evaluate

URL = "http://127.0.0.1:8000/"
SECOND = 1_000_000_000


def kept(rate, length_s, parts=3):
    """What is counted of a run whose every request started when it was due."""
    plan = Plan(url=URL, rate=rate, duration_s=length_s)
    due = sum(
        Schedule(plan.schedule.stages, "constant", p, parts).missed(p, length_s)
        for p in range(parts)
    )
    return plan, Summary(started=due, elapsed_ns=round(length_s * SECOND) + 300_000)


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.9, 1.0, 3.3, 7.0, 1000.0])
@pytest.mark.parametrize("length_s", [0.05, 0.3, 1.0, 2.0, 9.5, 3600.0])
def test_the_rate_offered_is_the_rate_asked_for_at_any_length(rate, length_s):
    plan, summary = kept(rate, length_s)
    paced = build_report(plan, summary).paced
    assert summary.started == pytest.approx(rate * length_s, abs=1)
    assert (paced.requested, paced.offered, paced.achieved) == (
        rate,
        pytest.approx(rate),
        paced.offered,
    )
    assert paced.is_met


def test_a_low_rate_is_written_as_it_is():
    plan, summary = kept(0.1, 2.0)
    phrases = "0.10/sec asked for   0.10/sec offered   0.10/sec achieved"
    assert describe_schedule(build_report(plan, summary).paced) == phrases
    assert "0.001/sec offered" in describe_schedule(build_report(*kept(0.001, 5.0)).paced)


def test_of_what_is_skipped_nothing_is_achieved():
    plan, summary = kept(100.0, 10.0)
    summary.started, summary.skipped = 400, 600
    paced = build_report(plan, summary).paced
    assert (paced.offered, paced.achieved) == (100, pytest.approx(40))
    assert not paced.is_met


@pytest.mark.parametrize(("skipped", "is_kept"), [(1, True), (10, True), (11, False)])
def test_what_was_due_as_the_run_ended_is_no_rate_that_was_not_met(skipped, is_kept):
    plan, summary = kept(100.0, 10.0)
    summary.started, summary.late, summary.skipped = 1000 - skipped, 250, skipped
    summary.service = summary.response = Histogram.of([1000] * summary.started)
    report = build_report(plan, summary)
    assert report.paced.is_met is is_kept
    assert ("The rate was reached, but 25" in find_bottleneck(report).sentence) is is_kept
    failed = [one.text for one in evaluate([Condition.parse("errors>1")], report) if one.failed]
    assert failed == ([] if is_kept else ["achieved<99%"])


def test_a_number_of_requests_has_the_rate_until_the_last_of_them_started():
    plan = Plan(url=URL, rate=500.0, requests=40)
    quick = Summary(started=40, last_start_ns=78 * SECOND // 1000, elapsed_ns=2 * SECOND)
    paced = build_report(plan, quick).paced
    assert (paced.offered, paced.achieved, paced.is_met) == (500, 500, True)
    slow = Summary(started=40, late=39, last_start_ns=10 * SECOND, elapsed_ns=11 * SECOND)
    paced = build_report(plan, slow).paced
    assert paced.offered == 500
    assert paced.achieved == pytest.approx(4, rel=0.02)
    assert not paced.is_met


def test_arrivals_by_chance_are_offered_as_chance_has_them():
    plan = Plan(url=URL, rate=100.0, duration_s=1.0, arrivals="poisson")
    paced = build_report(plan, Summary(started=93, elapsed_ns=SECOND)).paced
    assert (paced.requested, paced.offered, paced.achieved) == (100, 93, 93)


def test_a_log_is_offered_as_it_has_it():
    log = RecordedLog(tuple(LogEntry(at / 10, "GET", "/") for at in range(21)), 0)
    summary = Summary(started=21, last_start_ns=2 * SECOND, elapsed_ns=9 * SECOND)
    paced = build_report(Plan(url=URL, replay=log), summary).paced
    assert (paced.requested, paced.offered, paced.is_met) == (None, pytest.approx(10.5), True)


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
    return build_report(Plan(url=URL, stages=stages), summary)


def test_a_rate_that_was_reached_late_is_not_simply_met():
    found = find_bottleneck(staged(late=7_056))
    assert found.limiter == "schedule"
    assert found.confidence == "likely"
    assert found.sentence == (
        "The rate was reached, but 24 % of requests started late, 44.1 % in 4s@4000: "
        "response times are 675 ms at p99."
    )
    assert "it was met" in find_bottleneck(staged(late=200)).sentence


@pytest.mark.parametrize("more", [{"duration_s": 3.0}, {"requests": 300}])
def test_what_a_dead_worker_did_not_start_was_skipped(more):
    """It can no longer tell: a run of which half was never asked is no rate that was met."""
    half = Summary(started=200, lost=1, last_start_ns=29 * SECOND // 10, elapsed_ns=3 * SECOND)
    paced = build_report(Plan(url=URL, rate=100.0, **more), half).paced
    assert (paced.due, paced.started, paced.skipped) == (300, 200, 100)
    assert (paced.offered, paced.achieved) == (100, pytest.approx(200 / 3))
    assert not paced.is_met


def test_what_a_dead_worker_did_not_start_was_skipped_in_a_stage():
    times = Histogram.of([1_000] * 100)
    counts = {0: StageStats(100, service=times, response=times), 1: StageStats(50)}
    summary = Summary(started=150, lost=1, elapsed_ns=3 * SECOND, stages=counts)
    first, last = build_report(Plan(url=URL, stages="1s@100,2s@100"), summary).stages
    assert (first.paced.skipped, last.paced.skipped) == (0, 150)
    assert (first.paced.achieved, last.paced.achieved) == (100, 25)


async def test_what_was_started_is_told_while_the_run_lasts(serve, carry_out, ok_reply):
    """A worker that dies has told what it had started, as it has what it counted."""
    server = await serve(ok_reply)
    plan = {"url": server.url, "connections": 2, "stages": "300ms@100,300ms@100"}
    carried = await carry_out(**plan)
    told = [message for message in carried.messages if isinstance(message, Summary)]
    assert 0 < sum(one.started for one in told) <= carried.summary.started == 60
    for number, stage in carried.summary.stages.items():
        parts = [one.stages[number].started for one in told if number in one.stages]
        assert sum(parts) <= stage.started == 30
    assert any(0 in one.stages for one in told)


def test_no_stage_is_blamed_that_is_better_than_the_others():
    paced = build_report(
        Plan(url=URL, rate=100.0), Summary(started=200, late=9, elapsed_ns=SECOND)
    ).paced
    first, *_, last = staged().stages
    short = replace(first, paced=replace(first.paced, started=50, late=4))
    long = replace(last, paced=replace(last.paced, started=150, late=5))
    assert phrases.describe_late(paced, (short, long)) == "4.5 % of requests started late"
    long = replace(last, paced=replace(last.paced, started=100, late=5))
    assert phrases.describe_late(paced, (short, long)).endswith("started late, 5 % in 4s@4000")


def test_each_stage_has_figures_of_its_own():
    first, ramp, last = staged(late=7_056).stages
    assert [one.text for one in (first, ramp, last)] == ["4s@200", "ramp:6s@200-4000", "4s@4000"]
    assert [one.paced.offered for one in (first, ramp, last)] == [200, 2100, 4000]
    assert [one.paced.achieved for one in (first, ramp, last)] == [200, 2100, 4000]
    assert (last.from_s, last.length_s, last.succeeded, last.failed) == (10, 4, 15_990, 5)
    assert first.response.percentiles["p99"] < 2_000
    assert last.response.percentiles["p99"] > 600_000


def test_a_stage_that_the_run_did_not_come_to_is_none():
    plan = Plan(url=URL, stages="1s@10,1s@20,1s@30")
    stages = build_report(plan, Summary(started=20, elapsed_ns=3 * SECOND // 2)).stages
    assert [(one.text, one.length_s) for one in stages] == [("1s@10", 1), ("1s@20", 0.5)]


async def test_stages_add_up_to_the_run(serve, carry_out, ok_reply):
    """In the last stage two of three connections hang: what is due there waits, or is skipped."""

    def script(peer):
        if len(server.requests) <= 60 or len(server.requests) % 3 == 0:
            peer.send(ok_reply)
        elif len(server.requests) == 70:
            peer.reset()

    server = await serve(script)
    plan = {"url": server.url, "connections": 3, "stages": "300ms@100,300ms@100,400ms@200"}
    summary = (await carry_out(**plan)).summary
    report = build_report(Plan(**plan), summary)
    for name in ("started", "late", "skipped", "unfinished"):
        assert sum(getattr(one, name) for one in summary.stages.values()) == getattr(summary, name)
    for name in ("service", "response"):
        whole = Histogram()
        for one in summary.stages.values():
            whole.merge(getattr(one, name))
        assert whole == getattr(summary, name)
    assert [one.paced.due for one in report.stages] == [30, 30, 80]
    assert sum(one.failed for one in report.stages) == report.failed
    assert report.stages[2].unfinished >= 1


async def test_stages_are_in_every_form(serve, abench, ok_reply, tmp_path):
    server = await serve(ok_reply)
    page = tmp_path / "page.html"
    ran = await abench(
        *("--stages", "200ms@100,ramp:200ms@100-300", "-c", "4", "-w", "2"),
        *("--json", "-", "--html", str(page), server.url),
    )
    assert ran.code == 0, ran.err
    first, ramp = ran.json["schedule"]["by_stage"]
    assert (first["stage"], first["due"], ramp["stage"], ramp["due"]) == (
        "200ms@100", 20, "ramp:200ms@100-300", 40,
    )  # fmt: skip
    assert first["succeeded"] == first["started"] - first["unfinished"]
    lines = [line.split() for line in ran.err.splitlines()]
    (names,) = [line for line in lines if line[:2] == ["stage", "offered/s"]]
    assert names == ["stage", "offered/s", "achieved/s", "late", "failed", "p50", "p99"]
    rows = {"200ms@100", "ramp:200ms@100-300"}
    assert [line[:2] for line in lines if (line or [""])[0] in rows] == [
        ["200ms@100", "100"], ["ramp:200ms@100-300", "200"],
    ]  # fmt: skip
    assert "<h2>Stages</h2>" in page.read_text()
