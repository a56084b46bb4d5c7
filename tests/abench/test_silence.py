"""Servers that stop answering: said, counted, and seen by whoever gates on it."""

import asyncio
import json
from dataclasses import replace
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abench.plan.plan import Plan
from abench.report import document
from abench.stats.coverage import MAX_INTERVALS, MIN_GAP_MS, Coverage
from abench.stats.results import Silence, build_report, latencies_with_waits

ANSWERED = 50  # requests, and then none

stretches = st.lists(
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


@given(stretches, stretches, stretches)
def test_coverage_of_workers_unites_in_any_order(a, b, c):
    one, two, three = covered(a), covered(b), covered(c)
    assert merged(one, two, three) == merged(three, merged(two, one)) == covered(a + b + c)
    assert Coverage.decode(json.loads(json.dumps(one.encode()))) == one


@given(stretches)
def test_the_longest_gap_is_found(some):
    until = 5_500
    edges = {edge for stretch in some for edge in stretch}
    inside = {at for begin, end in some for at in range(begin, end)}
    gap = longest = 0
    for at in range(until):  # a millisecond from there on
        gap = 0 if at in inside else 1 if at in edges else gap + 1
        longest = max(longest, gap)
    begin, end = covered(some).longest_gap(until)
    assert end - begin == longest or longest < MIN_GAP_MS


def test_coverage_is_bounded_and_keeps_the_longest_gap():
    coverage = Coverage()
    for at in range(10 * MAX_INTERVALS):
        begin = at * 150 + (60_000 if at > 3_000 else 0)
        coverage.merge(Coverage(intervals=[(begin, begin + 10)]))
        assert len(coverage.intervals) <= MAX_INTERVALS
    begin, end = coverage.longest_gap(10 * MAX_INTERVALS * 150 + 60_000)
    assert end - begin == 60_000 + 150 - 10


class Mortal(asyncio.Protocol):
    """A server that is gone after ANSWERED requests: it does not listen any more."""

    listener: asyncio.Server
    asked = 0
    open: ClassVar[set[asyncio.Transport]] = set()

    def connection_made(self, transport):
        self.transport = transport
        self.open.add(transport)

    def connection_lost(self, _exc):
        self.open.discard(self.transport)

    def data_received(self, data):
        Mortal.asked += data.count(b"\r\n\r\n")
        if self.asked > ANSWERED:
            self.listener.close()
            for transport in list(self.open):
                transport.abort()
        else:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture
async def mortal():
    Mortal.asked, Mortal.open = 0, set()
    Mortal.listener = await asyncio.get_running_loop().create_server(Mortal, "127.0.0.1", 0)
    host, port = Mortal.listener.sockets[0].getsockname()
    yield f"http://{host}:{port}/"
    Mortal.listener.close()


@pytest.mark.parametrize("more", [(), ("--no-keepalive",), ("--pipeline", "4"), ("-R", "200")])
@pytest.mark.parametrize("gate", ["silence>600ms", "errors>20%"])
async def test_a_server_that_dies_is_seen_by_a_gate(mortal, abench, more, gate):
    ran = await abench("-t", "1.2", "-c", "4", "--json", "-", "--fail-if", gate, *more, mortal)
    report, text = ran.json, " ".join(ran.err.split())
    assert ran.code == 4, ran.err
    assert report["requests"]["succeeded"] > 0
    silence = report["silence"]
    assert silence["to_the_end"]
    assert silence["from_s"] + silence["length_s"] == pytest.approx(report["duration_s"], abs=0.01)
    assert report["verdict"]["limiter"] == "silence"
    assert "The server stopped answering after" in text
    assert f"FAILED {gate} came true" in text or "-R" in more
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
async def test_what_was_under_way_at_the_end_is_a_known_wait(serve, carry_out, ok_reply, name):
    def script(peer):
        if len(server.requests) <= ANSWERED:
            peer.send(ok_reply)

    server = await serve(script)
    plan = {"url": server.url, "connections": 3, "duration_s": 0.6, **FROZEN[name]}
    summary = (await carry_out(**plan)).summary
    report = build_report(Plan(**plan), summary)
    most = 3 * plan.get("pipeline", 1)
    assert 1 <= report.waiting.count <= most + 1
    latency = report.response or report.service
    assert latency.max == report.waiting.longest_us >= 0.2e6
    assert latency.max > summary.service.max
    assert report.silence.to_the_end
    assert report.succeeded == summary.service.count <= ANSWERED
    assert latency.percentiles["p99.9"] == latency.max


@pytest.mark.parametrize("more", [("-R", "200", "-t", "0.6"), ("--stages", "0.1s@100,0.5s@200")])
async def test_every_form_has_the_waits_at_the_end(more, serve, abench, ok_reply, tmp_path):
    """The greatest latency is the same in text, JSON, .hgrm, comparison, plots and stages."""

    def script(peer):
        if len(server.requests) <= 20:
            peer.send(ok_reply)

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


async def test_a_gate_on_the_slowest_sees_what_never_came(serve, abench, ok_reply):
    """All but one of the connections go on: nothing fails, and nothing is silent."""

    def script(peer):
        if len(server.requests) != ANSWERED:
            peer.send(ok_reply)

    server = await serve(script)
    gates = ("--fail-if", "max>300ms", "--fail-if", "service.max>300ms", "--fail-if", "p50>300ms")
    ran = await abench("-t", "0.6", "-c", "3", "-w", "1", "--json", "-", *gates, server.url)
    assert ran.code == 4
    assert [one["failed"] for one in ran.json["thresholds"]] == [True, True, False]
    assert ran.json["waiting"]["count"] == ran.json["requests"]["unfinished"] - 2 == 1
    assert ran.json["latency"]["service"]["max"] == ran.json["waiting"]["longest"]
    assert "1 request had no answer at the end after up to" in " ".join(ran.err.split())


async def test_nobody_is_silent_of_whom_nothing_is_asked(serve, carry_out, ok_reply):
    server = await serve(ok_reply)
    plan = {"url": server.url, "connections": 2, "rate": 2.0, "duration_s": 1.2}
    report = build_report(Plan(**plan), (await carry_out(**plan)).summary)
    assert report.succeeded == 3
    assert report.silence.length_s < 0.4
    assert report.outage is None


@pytest.mark.parametrize(
    "reply", [b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n", b"garbage\r\n\r\n"]
)
@pytest.mark.parametrize("more", [{}, {"pipeline": 2}, {"keep_alive": False}], ids=str)
async def test_a_reply_that_is_wrong_is_no_silence(reply, more, serve, carry_out):
    server = await serve(reply)
    plan = {"url": server.url, "connections": 2, "duration_s": 0.6, **more}
    report = build_report(Plan(**plan), (await carry_out(**plan)).summary)
    assert report.failed > 0
    assert report.silence.length_s < 0.4


@pytest.mark.parametrize("more", [{}, {"keep_alive": False}, {"rate": 1000.0}], ids=str)
async def test_a_run_of_a_moment_is_no_silence(more, serve, carry_out):
    """It is over before anybody has looked whether there were answers."""
    server = await serve(b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n")
    plan = {"url": server.url, "connections": 1, "requests": 1, **more}
    summary = (await carry_out(**plan)).summary
    (*_, (_, end_ms)) = summary.answering.stretches
    assert end_ms == summary.elapsed_ns // 1_000_000
    silence = build_report(
        Plan(**plan), replace(summary, answering=Coverage(intervals=[(0, end_ms)]))
    ).silence
    assert silence == Silence(0, 0, to_the_end=False)


async def test_a_slow_server_is_no_outage(serve, carry_out, ok_reply):
    def script(peer):
        asyncio.get_running_loop().call_later(0.3, peer.send, ok_reply)

    server = await serve(script)
    plan = {"url": server.url, "connections": 2, "duration_s": 1.0}
    report = build_report(Plan(**plan), (await carry_out(**plan)).summary)
    assert report.silence.length_s >= 0.25
    assert report.outage is None
