"""Servers that stop responding: reported, counted, and caught by gates."""

import asyncio
import json
from dataclasses import replace
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abench.plan.plan import Plan
from abench.report import document
from abench.stats.coverage import MAX_SPANS, MIN_GAP_MS, Coverage
from abench.stats.latency import latencies_with_waits
from abench.stats.parts import Silence
from abench.stats.results import build_results

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


class DyingServer(asyncio.Protocol):
    """A server that closes its listener after MAX_RESPONSES requests."""

    listener: asyncio.Server
    requests = 0
    open: ClassVar[set[asyncio.Transport]] = set()

    def connection_made(self, transport):
        self.transport = transport
        self.open.add(transport)

    def connection_lost(self, _exc):
        self.open.discard(self.transport)

    def data_received(self, data):
        DyingServer.requests += data.count(b"\r\n\r\n")
        if self.requests > MAX_RESPONSES:
            self.listener.close()
            for transport in list(self.open):
                transport.abort()
        else:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture
async def dying_server():
    DyingServer.requests, DyingServer.open = 0, set()
    DyingServer.listener = await asyncio.get_running_loop().create_server(
        DyingServer, "127.0.0.1", 0
    )
    host, port = DyingServer.listener.sockets[0].getsockname()
    yield f"http://{host}:{port}/"
    DyingServer.listener.close()


@pytest.mark.parametrize("more", [(), ("--no-keepalive",), ("--pipeline", "4"), ("-R", "200")])
@pytest.mark.parametrize("gate", ["silence>600ms", "errors>20%"])
async def test_dead_server_fails_the_gate(dying_server, abench, more, gate):
    ran = await abench(
        "-t", "1.2", "-c", "4", "--json", "-", "--fail-if", gate, *more, dying_server
    )
    report, text = ran.json, " ".join(ran.err.split())
    assert ran.code == 4, ran.err
    assert report["requests"]["succeeded"] > 0
    silence = report["silence"]
    assert silence["to_the_end"]
    assert silence["from_s"] + silence["length_s"] == pytest.approx(report["duration_s"], abs=0.01)
    assert report["verdict"]["limiter"] == "silence"
    assert "The server stopped responding after" in text
    assert f"FAILED {gate} is true" in text or "-R" in more
    if "-R" not in more:
        assert report["requests"]["error_share"] > 0.2
        assert report["paused_share"] > 0.2
        assert "errors count as" in text


FROZEN = {
    "a closed loop": {},
    "a connection for each": {"keep_alive": False},
    "a pipeline": {"pipeline": 4},
    "a schedule": {"rate": 400.0},
}


@pytest.mark.parametrize("name", FROZEN)
async def test_requests_in_flight_at_the_end_count_as_waits(serve, run_plan, ok_response, name):
    def script(peer):
        if len(server.requests) <= MAX_RESPONSES:
            peer.send(ok_response)

    server = await serve(script)
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


@pytest.mark.parametrize("more", [("-R", "200", "-t", "0.6"), ("--stages", "0.1s@100,0.5s@200")])
async def test_every_form_includes_the_waits(more, serve, abench, ok_response, tmp_path):
    """The maximum latency is the same in text, JSON, .hgrm, comparison, plots and stages."""

    def script(peer):
        if len(server.requests) <= 20:
            peer.send(ok_response)

    server = await serve(script)
    saved, hgrm, page = (tmp_path / name for name in ("a.json", "a.hgrm", "a.html"))
    files = ("--json", str(saved), "--hgrm", str(hgrm), "--html", str(page))
    ran = await abench("-c", "2", "-w", "1", *more, *files, server.url)
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
    redrawn = await abench("report", str(saved))
    assert redrawn.out == ran.out


async def test_gate_on_max_includes_the_waits(serve, abench, ok_response):
    """One connection hangs and the others go on: nothing fails, and there is no silence."""

    def script(peer):
        if len(server.requests) != MAX_RESPONSES:
            peer.send(ok_response)

    server = await serve(script)
    gates = ("--fail-if", "max>300ms", "--fail-if", "service.max>300ms", "--fail-if", "p50>300ms")
    ran = await abench("-t", "0.6", "-c", "3", "-w", "1", "--json", "-", *gates, server.url)
    assert ran.code == 4
    assert [one["failed"] for one in ran.json["thresholds"]] == [True, True, False]
    assert ran.json["waiting"]["count"] == ran.json["requests"]["unfinished"] - 2 == 1
    assert ran.json["latency"]["service"]["max"] == ran.json["waiting"]["longest"]
    assert "1 request had no response at the end after up to" in " ".join(ran.err.split())


async def test_server_without_requests_is_not_silent(serve, run_plan, ok_response):
    server = await serve(ok_response)
    plan = {"url": server.url, "connections": 2, "rate": 2.0, "duration_s": 1.2}
    report = build_results(Plan(**plan), (await run_plan(**plan)).summary)
    assert report.succeeded == 3
    assert report.silence.length_s < 0.4
    assert report.outage is None


@pytest.mark.parametrize(
    "response", [b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n", b"garbage\r\n\r\n"]
)
@pytest.mark.parametrize("more", [{}, {"pipeline": 2}, {"keep_alive": False}], ids=str)
async def test_wrong_response_is_no_silence(response, more, serve, run_plan):
    server = await serve(response)
    plan = {"url": server.url, "connections": 2, "duration_s": 0.6, **more}
    report = build_results(Plan(**plan), (await run_plan(**plan)).summary)
    assert report.failed > 0
    assert report.silence.length_s < 0.4


@pytest.mark.parametrize("more", [{}, {"keep_alive": False}, {"rate": 1000.0}], ids=str)
async def test_very_short_run_is_no_silence(more, serve, run_plan):
    """The run ends before responses were checked."""
    server = await serve(b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n")
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
    assert report.silence.length_s >= 0.25
    assert report.outage is None
