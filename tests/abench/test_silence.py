"""Servers that stop responding: reported, counted, and caught by gates."""

import asyncio
import io
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from abench.cli.outputs import Outputs
from abench.plan.plan import Plan
from abench.report import document
from abench.report.text import render
from abench.stats.bottleneck import find_bottleneck
from abench.stats.coverage import MAX_SPANS, MIN_GAP_MS, Coverage
from abench.stats.latency import latencies_with_waits
from abench.stats.parts import Silence
from abench.stats.results import build_results
from abench.stats.thresholds import Condition
from tests.marks import slow

pytestmark = pytest.mark.virtual_time

DOWN = b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
MAX_RESPONSES = 50  # the server answers no request after these

spans = st.lists(
    st.tuples(st.integers(0, 5_000), st.integers(0, 200)).map(lambda at: (at[0], sum(at))),
    max_size=30,
)


def covered(some):
    coverage = Coverage()
    for begin, end in sorted(some):
        coverage.add(begin, end)
    return coverage


def merged(*some):
    whole = Coverage()
    for one in some:
        whole.merge(one)
    return whole


@given(spans, spans, spans)
def test_coverage_merges_in_any_order(a, b, c):
    one, two, three = covered(a), covered(b), covered(c)
    assert merged(one, two, three) == merged(three, merged(two, one)) == covered(a + b + c)
    assert Coverage.decode(json.loads(json.dumps(one.encode()))) == one


@given(spans)
def test_longest_gap_is_found(some):
    until = 5_500
    edges = {edge for span in some for edge in span}
    inside = {at for begin, end in some for at in range(begin, end)}
    gap = longest = 0
    for at in range(until):  # each millisecond
        gap = 0 if at in inside else 1 if at in edges else gap + 1
        longest = max(longest, gap)
    begin, end = covered(some).longest_gap(until)
    assert end - begin == longest or longest < MIN_GAP_MS


def test_coverage_is_bounded_and_keeps_the_longest_gap():
    coverage = Coverage()
    for at in range(10 * MAX_SPANS):
        begin = at * 150 + (60_000 if at > 3_000 else 0)
        coverage.merge(Coverage(spans=[(begin, begin + 10)]))
        assert len(coverage.spans) <= MAX_SPANS
    begin, end = coverage.longest_gap(10 * MAX_SPANS * 150 + 60_000)
    assert end - begin == 60_000 + 150 - 10


def answering_after(delay_s, count):
    """Return a script that answers the first requests after a delay, and no others."""

    def script(peer):
        if len(peer.server.requests) <= count:
            asyncio.get_running_loop().call_later(delay_s, peer.send, OK)

    return script


def dying_after(delay_s, count):
    """Return a script that answers the first requests; then the server is gone."""
    answer = answering_after(delay_s, count)

    def script(peer):
        answer(peer)
        if len(peer.server.requests) > count:
            peer.server.listener.close()
            for other in list(peer.server.open):
                other.transport.abort()

    return script


def fails(report, gate):
    return Condition.parse(gate).evaluate(report).failed


def shown(report):
    stream = io.StringIO()
    Console(file=stream, width=100, highlight=False).print(render(report))
    return " ".join(stream.getvalue().split())


@pytest.mark.parametrize(
    "more", [{}, {"keep_alive": False}, {"pipeline": 4}, {"rate": 200.0}], ids=str
)
async def test_dead_server_fails_the_gate(serve, run_plan, more):
    server = await serve(dying_after(0.004, MAX_RESPONSES))
    plan = {"url": server.url, "connections": 4, "duration_s": 1.2, **more}
    summary = (await run_plan(**plan)).summary
    report = build_results(Plan(**plan), summary)
    assert 0 < report.succeeded <= MAX_RESPONSES
    assert report.silence.to_the_end
    assert report.silence.from_s + report.silence.length_s == pytest.approx(1.2, abs=0.01)
    assert find_bottleneck(report).limiter == "silence"
    assert fails(report, "silence>600ms")
    assert fails(report, "errors>20%") or "rate" in more
    assert "The server stopped responding after" in shown(report)
    if "rate" not in more:
        assert report.error_share > 0.2
        assert report.paused > 0.2
        assert "errors count as" in shown(report)


@pytest.mark.parametrize("rate", [200.0, 8.0])
async def test_server_that_only_hangs_up_is_silent(serve, run_plan, rate):
    """With a schedule, connections are free again at once, and mostly nothing is awaited."""

    def script(peer):
        if len(peer.server.requests) <= MAX_RESPONSES // 10:
            peer.send(OK)
        else:
            peer.close()

    server = await serve(script)
    plan = {"url": server.url, "connections": 4, "rate": rate, "duration_s": 3.0}
    report = build_results(Plan(**plan), (await run_plan(**plan)).summary)
    assert report.succeeded == MAX_RESPONSES // 10
    assert report.silence.to_the_end
    assert report.silence.from_s + report.silence.length_s == pytest.approx(3, abs=0.01)
    assert fails(report, "silence>2s")
    assert "The server stopped responding after" in shown(report)


FROZEN = {
    "a closed loop": {},
    "a connection for each": {"keep_alive": False},
    "a pipeline": {"pipeline": 4},
    "a schedule": {"rate": 400.0},
}


@pytest.mark.parametrize("name", FROZEN)
async def test_requests_in_flight_at_the_end_count_as_waits(serve, run_plan, name):
    server = await serve(answering_after(0.002, MAX_RESPONSES))
    plan = {"url": server.url, "connections": 3, "duration_s": 0.6, **FROZEN[name]}
    summary = (await run_plan(**plan)).summary
    report = build_results(Plan(**plan), summary)
    max_in_flight = 3 * plan.get("pipeline", 1)
    assert 1 <= report.waiting.count <= max_in_flight + 1
    latency = report.response or report.service
    assert latency.max == report.waiting.longest_us >= 0.2e6
    assert latency.max > summary.service.max
    assert report.silence.to_the_end
    assert report.succeeded == summary.service.count <= MAX_RESPONSES
    assert latency.percentiles["p99.9"] == latency.max


@pytest.mark.parametrize(
    "more", [slow({"rate": 200.0, "duration_s": 0.6}), {"stages": "0.1s@100,0.5s@200"}], ids=str
)
@pytest.mark.usefixtures("without_plots")
async def test_every_form_includes_the_waits(more, serve, run_plan, abench, tmp_path):
    """The maximum latency is the same in text, JSON, .hgrm, comparison, plots and stages."""
    server = await serve(answering_after(0.002, 20))
    plan = {"url": server.url, "connections": 2, **more}
    ran = build_results(Plan(**plan), (await run_plan(**plan)).summary)
    saved, hgrm, page = (tmp_path / name for name in ("a.json", "a.hgrm", "a.html"))
    outputs = Outputs(json=str(saved), hgrm=str(hgrm), html=str(page))
    outputs.check(scheduled=True)
    assert outputs.write_all(ran, 0) == 0
    plain = json.loads(saved.read_text())
    report = document.read_report(saved)
    for which, file in (("response", hgrm), ("service", tmp_path / "a.service.hgrm")):
        longest = plain["latency"][which]["max"]
        assert longest >= 0.2e6
        assert latencies_with_waits(report.summary, which).max == longest
        assert f"#[Max     = {longest / 1000:12.3f}," in file.read_text()
    if plain["schedule"]["by_stage"]:
        last = plain["schedule"]["by_stage"][-1]["latency"]
        assert last["response"]["max"] == plain["latency"]["response"]["max"]
        assert last["service"]["max"] == plain["latency"]["service"]["max"]
    compared = await abench("compare", "--json", str(saved), str(saved))
    p99 = next(one for one in compared.json["differences"] if one["name"] == "p99")
    assert p99["before"] == plain["latency"]["response"]["p99"] >= 0.2e6
    assert shown(report) == shown(ran)


async def test_gate_on_max_includes_the_waits(serve, run_plan):
    """One connection hangs and the others go on: nothing fails, and there is no silence."""

    def script(peer):
        if len(server.requests) != MAX_RESPONSES:
            asyncio.get_running_loop().call_later(0.004, peer.send, OK)

    server = await serve(script)
    plan = {"url": server.url, "connections": 3, "duration_s": 0.602}
    report = build_results(Plan(**plan), (await run_plan(**plan)).summary)
    gates = ("max>300ms", "service.max>300ms", "p50>300ms")
    assert [fails(report, gate) for gate in gates] == [True, True, False]
    assert report.waiting.count == report.unfinished - 2 == 1
    assert report.service.max == report.waiting.longest_us
    assert "1 request had no response at the end after up to" in shown(report)


async def test_server_without_requests_is_not_silent(serve, run_plan, ok_response):
    server = await serve(ok_response)
    plan = {"url": server.url, "connections": 2, "rate": 2.0, "duration_s": 1.2}
    report = build_results(Plan(**plan), (await run_plan(**plan)).summary)
    assert report.succeeded == 3
    assert report.silence.length_s == 0
    assert report.outage is None


@pytest.mark.parametrize("response", [DOWN, b"garbage\r\n\r\n"])
@pytest.mark.parametrize("more", [{}, {"pipeline": 2}, {"keep_alive": False}], ids=str)
async def test_wrong_response_is_no_silence(response, more, serve, run_plan):
    def script(peer):
        asyncio.get_running_loop().call_later(0.004, peer.send, response)

    server = await serve(script)
    plan = {"url": server.url, "connections": 2, "duration_s": 0.6, **more}
    report = build_results(Plan(**plan), (await run_plan(**plan)).summary)
    assert report.failed > 0
    assert report.silence.length_s == 0


@pytest.mark.parametrize("more", [{}, {"keep_alive": False}, {"rate": 1000.0}], ids=str)
async def test_very_short_run_is_no_silence(more, serve, run_plan):
    """The run ends before responses were checked."""

    def script(peer):
        asyncio.get_running_loop().call_later(0.002, peer.send, DOWN)

    server = await serve(script)
    plan = {"url": server.url, "connections": 1, "requests": 1, **more}
    summary = (await run_plan(**plan)).summary
    (*_, (_, end_ms)) = summary.answering.spans
    assert end_ms == summary.elapsed_ns // 1_000_000
    silence = build_results(
        Plan(**plan), replace(summary, answering=Coverage(spans=[(0, end_ms)]))
    ).silence
    assert silence == Silence(0, 0, to_the_end=False)


async def test_slow_server_is_no_outage(serve, run_plan, ok_response):
    def script(peer):
        asyncio.get_running_loop().call_later(0.3, peer.send, ok_response)

    server = await serve(script)
    plan = {"url": server.url, "connections": 2, "duration_s": 1.0}
    report = build_results(Plan(**plan), (await run_plan(**plan)).summary)
    assert report.silence.length_s == pytest.approx(0.3, abs=0.02)  # it is looked each 10 ms
    assert report.outage is None
