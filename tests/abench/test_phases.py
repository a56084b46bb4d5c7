"""Where the time of a run went: its phases, each URL, each stage, and the sizes of responses."""

import asyncio
import socket
import statistics
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abench.client import connector
from abench.plan import log_replay, request_groups
from abench.plan.plan import Plan
from abench.plan.request_groups import MAX_GROUPS, OTHERS
from abench.plan.url_file import WeightedUrl
from abench.runner import preflight
from abench.stats.groups import GroupStats
from abench.stats.histogram import Histogram
from abench.stats.latency import latencies_with_waits
from abench.stats.phases import PHASES, PhaseRecorder
from abench.stats.results import build_results
from abench.stats.summary import Summary
from tests.marks import slow

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
WHOLE = HEAD + b"hello"
URL = "http://127.0.0.1/"


def in_parts(peer, *parts, first_s, apart_s):
    """Send the first part after `first_s` seconds, and the others each `apart_s` later."""
    loop = asyncio.get_running_loop()
    for number, part in enumerate(parts):
        loop.call_later(first_s + number * apart_s, peer.send, part)


# -- The phases of requests -----------------------------------------------------------------------


@pytest.mark.virtual_time
@pytest.mark.parametrize("keep_alive", [True, False])
async def test_first_byte_and_transfer_are_those_of_a_response_in_several_reads(
    keep_alive, serve, run_plan
):
    server = await serve(lambda peer: in_parts(peer, HEAD, b"hel", b"lo", first_s=2, apart_s=3))
    plan = {"connections": 1, "requests": 3, "keep_alive": keep_alive}
    summary = (await run_plan(url=server.url, **plan)).summary
    found = summary.phases
    assert (found.first_byte.count, found.transfer.count, summary.service.count) == (3, 3, 3)
    for histogram, seconds in ((found.first_byte, 2), (found.transfer, 6), (summary.service, 8)):
        assert histogram.min == histogram.max == seconds * 10**6
    assert summary.sizes == Histogram.of([len(WHOLE)] * 3)


@pytest.mark.virtual_time
async def test_a_response_until_the_end_of_its_connection_is_transferred_until_then(
    serve, run_plan
):
    # RFC 9112 section 6.3 rule 8: without a length, the end of the connection ends the response
    def script(peer):
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        asyncio.get_running_loop().call_later(4, peer.close)

    server = await serve(script)
    plan = {"connections": 1, "requests": 1, "keep_alive": False}
    found = (await run_plan(url=server.url, **plan)).summary.phases
    assert (found.first_byte.max, found.transfer.max) == (0, 4 * 10**6)


async def test_kept_connections_and_responses_in_one_read_have_no_phases(serve, run_plan):
    server = await serve()
    summary = (await run_plan(url=server.url, connections=2, requests=20)).summary
    assert summary.succeeded == 20
    assert {getattr(summary.phases, name).count for name in PHASES} == {0}


async def test_the_phases_of_a_failed_request_are_not_counted(serve, run_plan):
    parts = (b"HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\n", b"hello")
    server = await serve(lambda peer: in_parts(peer, *parts, first_s=0, apart_s=0.01))
    summary = (await run_plan(url=server.url, connections=1, requests=2)).summary
    assert summary.failures == Counter(status=2)
    assert summary.phases.first_byte.count == summary.phases.transfer.count == 0
    assert not summary.sizes.counts


@pytest.mark.virtual_time
@pytest.mark.parametrize("load", [{}, {"rate": 1.0}])
async def test_a_request_with_its_own_connection_is_timed_without_opening_it(load, serve, run_plan):
    server = await serve(lambda peer: in_parts(peer, WHOLE, first_s=0.5, apart_s=0))
    plan = {"connections": 1, "requests": 3, "keep_alive": False, **load}
    summary = (await run_plan(url=server.url, **plan)).summary
    assert summary.phases.request == Histogram.of([500_000] * 3)
    assert summary.phases.connect == Histogram.of([0] * 3)  # no time passes in a UNIX socket


async def test_connections_that_are_reopened_are_timed(serve, run_plan):
    def script(peer):
        peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        peer.close()

    server = await serve(script)
    summary = (await run_plan(url=server.url, connections=1, requests=4)).summary
    assert summary.succeeded == 4
    assert summary.phases.connect.count == server.connections - 1  # the first was open before
    assert summary.phases.request.count == 0  # most requests have no connection of their own


@pytest.mark.parametrize(
    ("host", "known", "count"), [("bench.test", "127.0.0.1", 1), ("127.0.0.1", "127.0.0.1", 0)]
)
async def test_only_names_are_looked_up(host, known, count, serve, monkeypatch):
    server = await serve()
    lookup = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda _host, port, **more: lookup(known, port, **more)
    )
    steps = iter(range(10**9, 10**10, 10**6))
    monkeypatch.setattr(connector, "_clock", lambda: next(steps))
    plan = await asyncio.to_thread(preflight.resolve, Plan(url=f"http://{host}:{server.port}/"))
    summary = Summary()
    preflight.record_lookup(plan, summary)
    assert plan.address == known
    assert summary.phases.lookup == Histogram.of([1_000] * count)


def test_phases_leave_the_recorder_once():
    recorder = PhaseRecorder()
    append = recorder.connect.append
    append(7)
    assert recorder.take().connect == Histogram.of([7])
    append(8)
    assert recorder.take().connect == Histogram.of([8])
    assert recorder.take().connect == Histogram()


# -- Each URL -------------------------------------------------------------------------------------


def by_path(responses):
    """Return a script that answers each path with its own bytes, and closes for those of None."""

    def script(peer):
        data = responses[peer.server.requests[-1].split()[1]]
        if data is None:
            peer.close()
        else:
            peer.send(data)

    return script


MISSING = b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"
RESPONSES = {b"/a": WHOLE, b"/b": MISSING, b"/c": None}


def mix(url):
    return tuple(
        WeightedUrl(f"{url}{path}", weight) for path, weight in zip("abc", (3, 2, 1), strict=True)
    )


@pytest.mark.parametrize(
    "load",
    [
        {},
        {"rate": 10_000.0},
        {"keep_alive": False},
        slow({"rate": 10_000.0, "keep_alive": False}),
        slow({"stages": "30ms@1000,30ms@1000"}),
    ],
)
async def test_each_url_has_outcomes_of_its_own(load, serve, run_plan):
    server = await serve(by_path(RESPONSES))
    plan = {"url": server.url, "urls": mix(server.url), "connections": 2, "requests": 24, **load}
    summary = (await run_plan(**plan)).summary
    a, b, c = build_results(Plan(**plan), summary).by_url
    assert [one.url for one in (a, b, c)] == [one.url for one in plan["urls"]]
    assert (a.succeeded, a.failed, a.status, a.failures) == (12, 0, {200: 12}, {})
    assert (b.succeeded, b.failed, b.status, b.failures) == (0, 8, {404: 8}, {"status": 8})
    assert (c.succeeded, c.failed, c.status, c.failures) == (0, 4, {}, {"reset": 4})
    assert (a.bytes_received, b.bytes_received) == (12 * len(WHOLE), 8 * len(MISSING))
    assert summary.groups[0].service == summary.service  # no other URL has succeeded
    assert summary.groups[0].response == summary.response
    assert (a.response is None) == (not summary.response.counts)


async def test_each_url_of_a_pipeline_has_outcomes_of_its_own(serve, run_plan):
    server = await serve(by_path({b"/a": WHOLE, b"/b": MISSING, b"/c": WHOLE}))
    plan = {"url": server.url, "urls": mix(server.url), "connections": 1, "requests": 24}
    plan |= {"pipeline": 3}
    report = build_results(Plan(**plan), (await run_plan(**plan)).summary)
    assert [(one.succeeded, one.failed) for one in report.by_url] == [(12, 0), (0, 8), (4, 0)]
    assert report.sizes is None  # a stream of responses: what each took is not known


async def test_requests_of_a_pipeline_that_fail_count_for_their_urls(serve, run_plan):
    server = await serve(by_path({b"/a": WHOLE, b"/b": WHOLE, b"/c": b"garbage\r\n\r\n"}))
    plan = {"url": server.url, "urls": mix(server.url), "connections": 1, "requests": 24}
    plan |= {"pipeline": 3}
    report = build_results(Plan(**plan), (await run_plan(**plan)).summary)
    assert sum(one.failed for one in report.by_url) == report.failed > 0
    assert sum(one.succeeded for one in report.by_url) == report.succeeded
    assert report.by_url[2].failures == {"protocol": 4}


@pytest.mark.virtual_time
async def test_waits_at_the_end_are_those_of_their_urls(serve, run_plan):
    server = await serve(by_path({b"/a": WHOLE, b"/b": WHOLE, b"/c": b""}))
    plan = {"url": server.url, "urls": mix(server.url), "connections": 1, "duration_s": 2.0}
    summary = (await run_plan(**plan)).summary
    a, _, c = build_results(Plan(**plan), summary).by_url
    assert (a.unfinished, c.unfinished, summary.unfinished) == (0, 1, 1)
    assert (c.succeeded, c.service.max) == (0, 2 * 10**6)


def test_a_wait_beside_failed_responses_alone_is_no_latency():
    """It may be shorter than theirs. A server that says nothing at all is shown by its waits."""
    waits = {"waits": Histogram.of([371]), "unfinished": 1}
    failed = GroupStats(status=Counter({404: 3}), failures=Counter(status=3), **waits)
    assert latencies_with_waits(failed, "service").count == 0
    assert latencies_with_waits(GroupStats(**waits), "service").count == 1


async def test_requests_of_the_warmup_count_for_no_url(serve, run_plan):
    server = await serve()
    plan = {"url": server.url, "urls": mix(server.url), "connections": 2, "requests": 60}
    plan |= {"warmup_s": 0.02}
    report = build_results(Plan(**plan), (await run_plan(**plan)).summary)
    assert sum(one.succeeded for one in report.by_url) == report.succeeded == 60


@pytest.mark.parametrize("paths", [("a", "{n}"), ("a?b={n}", "b"), ("{n}",)])
async def test_requests_with_numbers_count_as_they_were_sent(paths, serve, run_plan):
    server = await serve()
    urls = tuple(WeightedUrl(f"{server.url}{path}") for path in paths)
    plan = {"url": server.url, "urls": urls, "connections": 2, "requests": 24}
    summary = (await run_plan(**plan)).summary
    assert summary.bytes_sent == sum(len(request) + 4 for request in server.requests)
    assert summary.bytes_received == 24 * len(WHOLE)
    assert (summary.status, summary.sizes) == (Counter({200: 24}), Histogram.of([len(WHOLE)] * 24))
    found = build_results(Plan(**plan), summary).by_url
    assert [one.succeeded for one in found] == ([12, 12] if len(paths) > 1 else [])


async def test_urls_that_share_a_group_count_one_by_one(serve, run_plan, monkeypatch):
    monkeypatch.setattr(request_groups, "MAX_GROUPS", 1)
    other = MISSING.replace(b"404 No", b"203 Yes")
    server = await serve(by_path({b"/a": WHOLE, b"/b": other, b"/c": WHOLE}))
    plan = {"url": server.url, "urls": mix(server.url), "connections": 2, "requests": 24}
    summary = (await run_plan(**plan)).summary
    a, others = build_results(Plan(**plan), summary).by_url
    assert (a.status, others.url, others.status) == ({200: 12}, None, {200: 4, 203: 8})
    assert summary.status == Counter({200: 16, 203: 8})
    assert others.bytes_received == 4 * len(WHOLE) + 8 * len(other)


def test_one_url_has_no_figures_of_its_own():
    assert build_results(Plan(url=URL), Summary()).by_url == ()
    assert build_results(Plan(url=URL, urls=(WeightedUrl(URL),)), Summary()).by_url == ()


def test_the_heaviest_of_too_many_urls_have_figures_of_their_own():
    light = MAX_GROUPS + 1
    weights = [1] * light + [2] * (MAX_GROUPS - 1)
    urls = [WeightedUrl(f"{URL}{number}", weight) for number, weight in enumerate(weights)]
    plan = Plan(url=URL, urls=tuple(urls))
    names = [one.url for one in plan.group_names()]
    assert names == [urls[0].url, *(one.url for one in urls[light:]), OTHERS]
    assert plan.groups.number(1) == plan.groups.number(light - 1) == len(plan.groups) - 1


def logged(*resources):
    lines = (f'{{"ts": {at}, "method": "GET", "uri": "{one}"}}' for at, one in enumerate(resources))
    return log_replay.parse_log(lines)


async def test_each_request_of_a_log_has_figures_of_its_own(serve, run_plan):
    server = await serve(by_path({b"/a": WHOLE, b"/b": MISSING}))
    replay = logged("/b", "/a", "/b", "/a", "/a")
    plan = {"url": server.url, "connections": 1, "replay": replay, "speed": 10_000.0}
    report = build_results(Plan(**plan), (await run_plan(**plan)).summary)
    assert [(one.method, one.url) for one in report.by_url] == [
        ("GET", f"{server.url}a"),
        ("GET", f"{server.url}b"),
    ]  # the most frequent first
    assert [(one.succeeded, one.failed) for one in report.by_url] == [(3, 0), (0, 2)]


# -- Each stage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("response", [WHOLE, MISSING])
async def test_each_stage_has_statuses_failures_and_bytes(response, serve, run_plan):
    server = await serve(response)
    plan = {"url": server.url, "connections": 2, "stages": "20ms@1000,20ms@500"}
    summary = (await run_plan(**plan)).summary
    stages = build_results(Plan(**plan), summary).stages
    assert sum(one.bytes_received for one in stages) == summary.bytes_received
    assert sum(map(Counter, (one.status for one in stages)), Counter()) == summary.status
    assert sum(map(Counter, (one.failures for one in stages)), Counter()) == summary.failures
    assert sum(one.succeeded for one in stages) == summary.succeeded
    assert sum(one.failed for one in stages) == summary.failed
    for one in stages:
        assert one.pages_per_sec == pytest.approx(one.succeeded / one.length_s)


# -- Sizes and figures of distributions -----------------------------------------------------------


@pytest.mark.parametrize("keep_alive", [True, False])
async def test_sizes_are_those_of_whole_responses(keep_alive, serve, run_plan):
    long = HEAD.replace(b"5", b"70000") + bytes(70_000)  # more than a read
    server = await serve(by_path({b"/a": WHOLE, b"/b": long, b"/c": MISSING}))
    plan = {"url": server.url, "urls": mix(server.url), "connections": 1, "requests": 12}
    plan |= {"keep_alive": keep_alive}
    summary = (await run_plan(**plan)).summary
    assert summary.sizes == Histogram.of([len(WHOLE)] * 6 + [len(long)] * 4)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=50))
def test_standard_deviation_is_that_of_the_values(values):
    # as far as they are known: each counts as the middle of its bucket, at most 0.05 % away
    known = Histogram.of(values).stdev
    assert known == pytest.approx(statistics.pstdev(values), abs=0.0005 * max(values) + 1e-6)


@pytest.mark.virtual_time
async def test_groups_leave_a_process_by_turns(serve, run_plan):
    server = await serve()
    plan = {"url": server.url, "urls": mix(server.url), "connections": 1, "stages": "4s@20"}
    ran = await run_plan(**plan)
    early = [one.groups for one in ran.messages if isinstance(one, Summary) and one.groups]
    assert [list(one) for one in early] == [[1], [2], [0], [1], [2]]  # of ten turns in two seconds
    assert sum(one.service.count for one in ran.summary.groups.values()) == ran.summary.succeeded
