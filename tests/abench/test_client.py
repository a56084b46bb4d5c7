"""Connections to servers that behave and to servers that do not: what is counted as what."""

import asyncio

import pytest

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"

# name: what the server sends, whether it closes after that, the outcome of a request
RESPONSES = {
    "sized": (HEAD + b"hello", False, 200),
    "sized, then closed": (HEAD + b"hello", True, 200),
    "chunked": (CHUNKED, False, 200),
    "until closed": (b"HTTP/1.1 200 OK\r\n\r\nhello", True, 200),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nhello", True, 200),
    "after 1xx": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\n\r\n" + CHUNKED, False, 200),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", False, 204),
    "304": (b"HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\n", False, 304),
    "close announced": (
        HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + b"hello",
        True,
        200,
    ),
    "404": (b"HTTP/1.1 404 X\r\nContent-Length: 5\r\n\r\nhello", False, "status"),
    "500": (b"HTTP/1.1 500 X\r\nContent-Length: 5\r\n\r\nhello", False, "status"),
    "099": (b"HTTP/1.1 099 X\r\nContent-Length: 5\r\n\r\nhello", False, "status"),
    "truncated": (HEAD + b"hell", True, "protocol"),
    "half a head": (HEAD[:20], True, "protocol"),
    "truncated chunk": (CHUNKED[:-3], True, "protocol"),
    "garbage": (b"\x16\x03\x01\x02 garbage", False, "protocol"),
    "too long": (HEAD + b"hello, you", False, "protocol"),
    "only 1xx": (b"HTTP/1.1 103 X\r\n\r\n", True, "protocol"),
    "nothing": (b"", True, "reset"),
}


@pytest.mark.parametrize("name", RESPONSES)
async def test_each_request_is_counted_once_by_its_outcome(name, serve, run_plan):
    data, closes, outcome = RESPONSES[name]

    def script(peer):
        peer.send(data)
        if closes and peer.request_count == 1:
            peer.close()

    server = await serve(script)
    summary = (await run_plan(url=server.url, connections=3, requests=20)).summary
    # If a server closes without announcing it, the next request may be on its way already.
    in_transit = summary.failures["reset"] if name == "sized, then closed" else 0
    if isinstance(outcome, int):
        assert (summary.succeeded, summary.failed) == (20 - in_transit, in_transit)
        assert summary.status == {outcome: 20 - in_transit}
    else:
        assert (summary.succeeded, dict(summary.failures)) == (0, {outcome: 20})
    assert summary.bytes_received == len(data) * (20 - in_transit)
    assert summary.unfinished == 0


async def test_a_reset_within_a_response_is_counted_as_reset(serve, run_plan):
    def script(peer):
        peer.send(HEAD + b"he")
        asyncio.get_running_loop().call_soon(peer.reset)

    server = await serve(script)
    summary = (await run_plan(url=server.url, connections=2, requests=10)).summary
    assert summary.succeeded == 0
    assert summary.failed == 10
    assert set(summary.failures) <= {"reset"}


async def test_one_response_in_many_parts_is_one_success(serve, run_plan, ok_response):
    def script(peer):
        loop = asyncio.get_running_loop()
        peer.send(ok_response[:10])
        loop.call_later(0.001, peer.send, ok_response[10:40])
        loop.call_later(0.002, peer.send, ok_response[40:])

    server = await serve(script)
    summary = (await run_plan(url=server.url, connections=2, requests=8)).summary
    assert (summary.succeeded, summary.failed) == (8, 0)
    assert summary.bytes_received == 8 * len(ok_response)


async def test_a_changed_response_is_noticed(serve, run_plan, ok_response):
    other = ok_response.replace(b"200 OK", b"503 No")
    assert len(other) == len(ok_response)

    def script(peer):
        peer.send(other if len(server.requests) % 3 == 0 else ok_response)

    server = await serve(script)
    summary = (await run_plan(url=server.url, connections=1, requests=30)).summary
    assert summary.status == {200: 20, 503: 10}
    assert (summary.succeeded, dict(summary.failures)) == (20, {"status": 10})


async def test_a_head_request_reads_no_body(serve, run_plan):
    server = await serve(HEAD)
    plan = {"url": server.url, "connections": 2, "requests": 10, "method": "HEAD"}
    summary = (await run_plan(**plan)).summary
    assert (summary.succeeded, summary.failed) == (10, 0)
    assert all(request.startswith(b"HEAD / HTTP/1.1\r\n") for request in server.requests)


async def test_a_timeout_is_counted_and_the_connection_replaced(
    serve, run_plan, ok_response, client_clock
):
    def script(peer):
        if server.connections > 1:  # the first connection is never answered
            peer.send(ok_response)
        else:
            client_clock.set_ahead(1000)

    server = await serve(script)
    summary = (await run_plan(url=server.url, connections=1, requests=5, timeout_s=500)).summary
    assert (summary.succeeded, dict(summary.failures)) == (4, {"timeout": 1})
    assert server.connections == 2
    assert summary.service.count == 4  # the time of what has failed is no service time


async def test_requests_go_on_when_a_server_closes_after_some(serve, run_plan, ok_response):
    last = HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + b"hello"

    def script(peer):
        if peer.request_count < 3:
            peer.send(ok_response)
        else:
            peer.send(last)
            peer.close()

    server = await serve(script)
    summary = (await run_plan(url=server.url, connections=2, requests=60)).summary
    assert (summary.succeeded, summary.failed) == (60, 0)
    assert server.connections == 20


async def test_without_keep_alive_each_request_has_its_own_connection(serve, run_plan, ok_response):
    server = await serve(ok_response)  # it would keep the connection open
    plan = {"url": server.url, "connections": 3, "requests": 12, "keep_alive": False}
    summary = (await run_plan(**plan)).summary
    assert (summary.succeeded, summary.failed) == (12, 0)
    assert server.connections == 12
    assert all(b"Connection: close" in request for request in server.requests)


async def test_bytes_before_a_request_are_no_response_to_it(serve, run_plan, ok_response):
    server = await serve(ok_response, accept=lambda peer: peer.send(ok_response))
    summary = (await run_plan(url=server.url, connections=2, requests=6)).summary
    assert summary.succeeded + summary.failed == 6
    assert len(server.requests) >= summary.succeeded


async def test_a_missing_server_is_counted_as_connect_with_backoff(run_plan, closed_port):
    plan = {"url": f"http://127.0.0.1:{closed_port}/", "connections": 2, "duration_s": 0.3}
    summary = (await run_plan(**plan)).summary
    assert summary.open_connections == 0
    assert set(summary.failures) == {"connect"}
    # Pauses of 10, 20, 40 ... ms on each of two connections; a busy machine makes more of it late.
    assert summary.failed <= 2 * 6


async def test_a_run_of_many_requests_gives_up_on_a_dead_server(run_plan, closed_port):
    plan = {"url": f"http://127.0.0.1:{closed_port}/", "requests": 10**6, "timeout_s": 0.2}
    summary = (await run_plan(**plan)).summary
    assert summary.gave_up
    assert summary.succeeded == 0


@pytest.mark.virtual_time
async def test_an_unanswered_request_at_the_end_is_neither_success_nor_failure(serve, run_plan):
    server = await serve(lambda _: None)
    summary = (await run_plan(url=server.url, connections=4, duration_s=0.1)).summary
    assert (summary.succeeded, summary.failed, summary.unfinished) == (0, 0, 4)
    assert len(server.requests) == 4


@pytest.mark.parametrize(("connections", "requests"), [(1, 1), (10, 3), (3, 10), (7, 700)])
async def test_a_number_of_requests_is_exact(serve, run_plan, connections, requests):
    server = await serve()
    summary = (await run_plan(url=server.url, connections=connections, requests=requests)).summary
    assert summary.succeeded == len(server.requests) == requests
    assert summary.open_connections == server.peak == connections


@pytest.mark.virtual_time
async def test_reports_add_up_to_the_whole(serve, run_plan, ok_response):
    def script(peer):
        asyncio.get_running_loop().call_later(0.01, peer.send, ok_response)

    server = await serve(script)
    result = await run_plan(url=server.url, connections=4, duration_s=0.505)
    assert [type(one).__name__ for one in result.messages] == [
        *("Ready", "Started", "Summary", "Summary", "Finished"),
    ]
    assert result.summary.succeeded == 4 * 50
    assert len(server.requests) == 4 * 51
    assert result.summary.unfinished == 4
    assert result.summary.elapsed_ns == 505_000_000


async def test_processor_time_is_reported_as_it_is_used(serve, run_plan):
    server = await serve()
    summary = (await run_plan(url=server.url, connections=1, requests=50)).summary
    (cost,) = summary.costs
    assert 0 < summary.cpu_ns <= cost.cpu_ns
