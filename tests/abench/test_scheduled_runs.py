"""The open loop: due requests are started, and timed from when they were due."""

import asyncio

import pytest

pytestmark = pytest.mark.alone


async def test_every_request_that_is_due_is_started(serve, run_plan, ok_response):
    server = await serve(ok_response)
    summary = (await run_plan(url=server.url, connections=4, rate=200, duration_s=1)).summary
    assert summary.started + summary.skipped == pytest.approx(200, abs=1)
    assert summary.succeeded + summary.unfinished == summary.started
    # The server may not have read what was sent just before the end.
    assert summary.succeeded <= len(server.requests) <= summary.started
    assert summary.response.count == summary.service.count == summary.succeeded


async def test_a_number_of_requests_ends_a_schedule_too(serve, run_plan, ok_response):
    server = await serve(ok_response)
    summary = (await run_plan(url=server.url, connections=9, rate=500, requests=40)).summary
    assert (summary.succeeded, summary.failed, summary.skipped) == (40, 0, 0)
    assert len(server.requests) == 40
    assert summary.elapsed_ns >= 39 / 500 * 1e9


async def test_stages_last_as_long_as_they_say(serve, run_plan, ok_response):
    server = await serve(ok_response)
    plan = {"url": server.url, "connections": 4, "stages": "200ms@100,ramp:300ms@100-300"}
    summary = (await run_plan(**plan)).summary
    assert summary.started + summary.skipped == 20 + 60
    assert summary.elapsed_ns >= 0.5e9


async def test_a_server_that_is_too_slow_makes_requests_wait_and_skips_some(serve, run_plan):
    """One connection, 50 ms per response, 100 requests a second: most cannot start."""
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    def script(peer):
        asyncio.get_running_loop().call_later(0.05, peer.send, response)

    server = await serve(script)
    summary = (await run_plan(url=server.url, connections=1, rate=100, duration_s=1)).summary
    assert summary.started <= 20
    assert summary.started + summary.skipped == pytest.approx(100, abs=1)
    # The k-th starts no sooner than k * 50 ms and was due at k * 10 ms: it waits k * 40 ms.
    assert summary.late >= summary.started - 1
    assert summary.response.max >= (summary.succeeded - 1) * 40_000 + 50_000
    assert summary.service.percentiles([50])[50] < 100_000


async def test_requests_that_wait_for_a_connection_start_in_order(serve, run_plan, ok_response):
    blocked = []

    def script(peer):
        if len(server.requests) == 1:
            blocked.append(peer)  # blocks the only connection for a while
            asyncio.get_running_loop().call_later(0.3, peer.send, ok_response)
        else:
            peer.send(ok_response)

    server = await serve(script)
    summary = (await run_plan(url=server.url, connections=1, rate=100, requests=60)).summary
    assert (summary.succeeded, summary.skipped) == (60, 0)
    # About thirty became due meanwhile; the first of them waited the whole time.
    assert summary.late >= 25
    assert summary.response.max >= 300_000
    within = summary.response.spectrum()
    assert sum(count for _, us, count in within if us > 100_000) == pytest.approx(20, abs=5)


async def test_lost_connections_are_opened_when_the_next_request_is_due(
    serve, run_plan, ok_response
):
    def script(peer):
        peer.send(ok_response.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        peer.close()

    server = await serve(script)
    summary = (await run_plan(url=server.url, connections=3, rate=300, requests=60)).summary
    assert (summary.succeeded, summary.failed) == (60, 0)
    assert server.connections == 60


async def test_a_warm_up_is_not_counted(serve, abench, ok_response):
    server = await serve(ok_response)
    options = ("-w", "1", "-c", "3", "--warmup", "0.4", "--json", "-")
    for end in (("-n", "50"), ("-n", "50", "-R", "400"), ("-t", "0.5")):
        server.requests.clear()
        ran = await abench(*options, *end, server.url)
        assert ran.code == 0, ran.err
        report = ran.json
        counted, warmup = report["requests"], report["warmup"]["requests"]
        assert warmup > 0
        assert report["warmup"]["duration_s"] >= 0.4
        if end[0] == "-n":
            assert counted["succeeded"] == 50
        sent = counted["succeeded"] + counted["unfinished"] + warmup
        assert len(server.requests) == pytest.approx(sent, abs=3)
