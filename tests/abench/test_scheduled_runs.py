"""The open loop: due requests are started, and timed from when they were due."""

import asyncio

import pytest

from abench.runner.worker import WarmupUpdate

pytestmark = pytest.mark.virtual_time


async def test_every_request_that_is_due_is_started(serve, run_plan, ok_response):
    server = await serve(ok_response)
    summary = (await run_plan(url=server.url, connections=4, rate=200, duration_s=1)).summary
    assert (summary.started, summary.late, summary.skipped, summary.unfinished) == (200, 0, 0, 0)
    assert summary.response.count == summary.service.count == summary.succeeded == 200
    assert len(server.requests) == 200
    assert summary.elapsed_ns == 1_000_000_000


async def test_a_number_of_requests_ends_a_schedule_too(serve, run_plan, ok_response):
    server = await serve(ok_response)
    summary = (await run_plan(url=server.url, connections=9, rate=500, requests=40)).summary
    assert (summary.succeeded, summary.failed, summary.skipped) == (40, 0, 0)
    assert len(server.requests) == 40
    assert summary.last_start_ns == summary.elapsed_ns == 78_000_000  # 39 of 500 a second


async def test_stages_last_as_long_as_they_say(serve, run_plan, ok_response):
    server = await serve(ok_response)
    plan = {"url": server.url, "connections": 4, "stages": "200ms@100,ramp:300ms@100-300"}
    summary = (await run_plan(**plan)).summary
    assert (summary.started, summary.skipped) == (20 + 60, 0)
    assert summary.elapsed_ns == 500_000_000


async def test_a_server_that_is_too_slow_makes_requests_wait_and_skips_some(serve, run_plan):
    """One connection, 50 ms per response, 100 requests a second: most cannot start."""
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    def script(peer):
        asyncio.get_running_loop().call_later(0.05, peer.send, response)

    server = await serve(script)
    summary = (await run_plan(url=server.url, connections=1, rate=100, duration_s=1)).summary
    assert (summary.started, summary.skipped) == (20, 80)
    # The k-th starts after k * 50 ms and was due after k * 10 ms: it has waited for k * 40 ms.
    assert summary.late == 19
    assert summary.response.max == (summary.succeeded - 1) * 40_000 + 50_000
    assert summary.service.max == 50_000


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
    # Those due after 10 to 290 ms start late, the last of them by 10 ms.
    assert summary.late == 29
    assert summary.response.max == 300_000
    within = summary.response.spectrum()
    assert sum(count for _, us, count in within if us > 101_000) == 20  # due before 200 ms


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


@pytest.mark.parametrize(
    "end", [{"requests": 50}, {"requests": 50, "rate": 400}, {"duration_s": 0.5}], ids=str
)
async def test_a_warm_up_is_not_counted(end, serve, run_plan, ok_response):
    def script(peer):
        asyncio.get_running_loop().call_later(0.005, peer.send, ok_response)

    server = await serve(script)
    plan = {"url": server.url, "connections": 3, "warmup_s": 0.4, **end}
    result = await run_plan(**plan)
    counted = result.summary
    warmed_up = sum(
        one.counts.service.count for one in result.messages if isinstance(one, WarmupUpdate)
    )
    rate = end.get("rate", 600)  # three connections, 5 ms each
    assert warmed_up == pytest.approx(0.4 * rate, abs=3)  # three may be in flight
    if "requests" in end:
        assert counted.succeeded == 50
    else:
        assert counted.succeeded == pytest.approx(300, abs=3)
    in_all = warmed_up + counted.warmup_requests + counted.succeeded + counted.unfinished
    assert len(server.requests) == in_all
