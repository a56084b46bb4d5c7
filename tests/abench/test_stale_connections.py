"""Reused connections that a server closes, or on which it sends what was not requested."""

import asyncio
import errno
import json

import pytest

from abench.client import connector
from abench.plan.log_replay import parse_log
from abench.plan.url_file import WeightedUrl
from tests.abench.conftest import TRANSPORTS
from tests.marks import slow_except

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def log_of(number):
    lines = (json.dumps({"ts": n / 1000, "method": "GET", "uri": f"/{n}"}) for n in range(number))
    return parse_log(lines)


# name: options of a plan of twelve requests, by URL
PLANS = {
    "one URL": lambda url: {"url": url},
    "several URLs": lambda url: {"url": url, "urls": (WeightedUrl(url), WeightedUrl(url + "b", 2))},
    "with numbers": lambda url: {"url": url + "{n}"},
    "a log": lambda url: {"url": url, "replay": log_of(12)},
    "a schedule": lambda url: {"url": url, "rate": 2000},
    "a pipeline": lambda url: {"url": url, "pipeline": 3},
    "POST": lambda url: {"url": url, "method": "POST", "body": b"x"},
}


@TRANSPORTS
@pytest.mark.parametrize(
    "data", slow_except([TIMED_OUT, b"220 welcome\r\n", SIZED], TIMED_OUT, SIZED)
)
@pytest.mark.parametrize("name", slow_except(PLANS, "one URL", "a log", "a pipeline"))
async def test_a_greeting_ends_a_connection_and_no_run(name, data, serve, run_plan):
    """The server sends a greeting on the first connections, and on no others."""

    def accept(peer):
        if server.connections <= 2:
            peer.send(data)

    server = await serve(SIZED, accept=accept)
    plan = {"connections": 2, "requests": 12, **PLANS[name](server.url)}
    summary = (await run_plan(**plan)).summary
    # A greeting that arrives after a request was sent counts as its response.
    assert summary.succeeded + summary.failed == 12
    assert set(summary.failures) <= {"protocol", "status", "reset", "stale"}
    assert summary.failed <= 6


@TRANSPORTS
@pytest.mark.parametrize("name", [name for name in PLANS if name != "a pipeline"])
async def test_bytes_between_requests_end_a_connection_and_no_run(name, serve, run_plan):
    def script(peer):
        peer.send(SIZED)
        if server.connections == 1:
            peer.send(TIMED_OUT)

    server = await serve(script)
    plan = {"connections": 1, "requests": 12, **PLANS[name](server.url)}
    summary = (await run_plan(**plan)).summary
    assert summary.succeeded + summary.failed == 12
    assert summary.succeeded >= 10


def ending_at_the_third(ending):
    """Return the script of a server that ends each connection at its third request, unannounced."""

    def script(peer):
        if peer.request_count == 3:
            getattr(peer, ending)()
        else:
            peer.send(SIZED)

    return script


async def run_with_ending(serve, run_plan, ending, **plan):
    server = await serve(ending_at_the_third(ending))
    summary = (await run_plan(url=server.url, connections=2, requests=40, **plan)).summary
    return server, summary


@TRANSPORTS
@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize(
    "plan", [{}, {"rate": 5000}, {"method": "PUT"}, {"method": "DELETE"}], ids=str
)
async def test_an_idempotent_request_on_a_stale_connection_is_retried(
    ending, plan, serve, run_plan
):
    # RFC 9112 section 9.3.1
    server, summary = await run_with_ending(serve, run_plan, ending, **plan)
    assert (summary.succeeded, summary.failed, summary.unfinished) == (40, 0, 0)
    assert summary.retried == len(server.requests) - 40
    assert summary.retried >= 18  # every third


@TRANSPORTS
@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_a_request_that_is_not_idempotent_is_not_retried(ending, serve, run_plan):
    # RFC 9110 section 9.2.2
    server, summary = await run_with_ending(serve, run_plan, ending, method="POST", body=b"")
    assert len(server.requests) == 40
    assert summary.retried == 0
    assert summary.succeeded + summary.failures["stale"] == 40
    assert summary.failures["stale"] >= 12


@TRANSPORTS
async def test_a_retried_request_is_not_retried_again(serve, run_plan):
    server = await serve(lambda peer: peer.close())
    summary = (await run_plan(url=server.url, connections=2, requests=10)).summary
    assert dict(summary.failures) == {"reset": 10}
    assert summary.retried == 2  # on the two that were open before the start
    assert len(server.requests) == 12


@TRANSPORTS
async def test_a_request_whose_response_has_begun_is_never_retried(serve, run_plan):
    def script(peer):
        if peer.request_count == 2:
            peer.send(SIZED[:20])
            peer.close()
        else:
            peer.send(SIZED)

    server = await serve(script)
    summary = (await run_plan(url=server.url, connections=1, requests=10)).summary
    assert (summary.succeeded, dict(summary.failures)) == (5, {"protocol": 5})
    assert (summary.retried, len(server.requests)) == (0, 10)


@TRANSPORTS
async def test_a_retried_request_is_timed_from_when_it_was_first_sent(serve, run_plan):
    def script(peer):
        if peer.request_count == 2:
            asyncio.get_running_loop().call_later(0.05, peer.close)
        else:
            peer.send(SIZED)

    server = await serve(script)
    summary = (await run_plan(url=server.url, connections=1, requests=2)).summary
    assert (summary.succeeded, summary.retried) == (2, 1)
    assert summary.service.max >= 49_000


def targets(server):
    return [request.split()[1].decode() for request in server.requests]


@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize("name", ["several URLs", "with numbers", "a log"])
async def test_a_retry_sends_the_same_request(name, ending, serve, run_plan):
    server = await serve(ending_at_the_third(ending))
    plan = {"connections": 1, "requests": 12, **PLANS[name](server.url)}
    summary = (await run_plan(**plan)).summary
    assert (summary.succeeded, summary.failed, summary.retried) == (12, 0, 5)
    sent = targets(server)
    retries = [index for index in range(1, len(sent)) if index % 3 == 0]  # each third was lost
    assert [sent[index] for index in retries] == [sent[index - 1] for index in retries]
    once = [target for index, target in enumerate(sent) if index not in retries]
    numbers = {"with numbers": range(1, 13), "a log": range(12)}
    if name in numbers:
        assert once == [f"/{number}" for number in numbers[name]]
    else:
        assert sorted(once) == ["/"] * 4 + ["/b"] * 8


async def test_a_connection_that_fails_costs_only_its_own_request_of_a_log(
    serve, run_plan, monkeypatch
):
    server = await serve(SIZED)
    attempts = []
    connect = connector.Connector.connect

    def refuse_every_second(self, connection):
        attempts.append(connection)
        if len(attempts) % 2:
            connect(self, connection)
        else:
            connection.connect_failed(errno.ECONNREFUSED)

    monkeypatch.setattr(connector.Connector, "connect", refuse_every_second)
    plan = {"url": server.url, "replay": log_of(12), "keep_alive": False, "connections": 1}
    summary = (await run_plan(**plan)).summary
    assert (summary.succeeded, dict(summary.failures)) == (6, {"connect": 6})
    assert targets(server) == [f"/{number}" for number in range(0, 12, 2)]


@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_pipelined_requests_on_a_stale_connection_are_retried(ending, serve, run_plan):
    """Each connection ends at its seventh request, sent perhaps with the sixth and the eighth."""

    def script(peer):
        if peer.request_count < 7:
            peer.send(SIZED)
        elif peer.request_count == 7:
            end(peer)

    def end(peer):  # once the client has read what was sent, or a reset would discard it
        asyncio.get_running_loop().call_later(0.02, getattr(peer, ending))

    server = await serve(script)
    plan = {"url": server.url + "{n}", "pipeline": 3, "connections": 1, "requests": 30}
    summary = (await run_plan(**plan)).summary
    assert (summary.succeeded, summary.failed, summary.unfinished) == (30, 0, 0)
    assert summary.retried == len(server.requests) - 30
    assert summary.retried >= 4
    assert set(targets(server)) == {f"/{number}" for number in range(1, 31)}


async def test_the_first_of_pipelined_requests_is_retried_alone(serve, run_plan):
    # RFC 9112 section 9.3.2: a client MUST NOT pipeline immediately after a failed connection
    requests_at_response = []

    def script(peer):
        if server.connections == 1:
            if peer.request_count == 1:
                peer.send(SIZED)
            elif peer.request_count == 4:
                peer.close()
        else:
            asyncio.get_running_loop().call_later(0.02, respond, peer)

    def respond(peer):
        requests_at_response.append(peer.request_count)
        peer.send(SIZED)

    server = await serve(script)
    plan = {"url": server.url, "pipeline": 3, "connections": 1, "requests": 6}
    summary = (await run_plan(**plan)).summary
    assert (summary.succeeded, summary.failed, summary.retried) == (6, 0, 3)
    assert requests_at_response[0] == 1


async def test_pipelined_requests_are_retried_only_once(serve, run_plan):
    server = await serve(lambda peer: peer.send(SIZED) if peer.request_count == 1 else peer.close())
    plan = {"url": server.url, "pipeline": 4, "connections": 1, "requests": 40}
    summary = (await run_plan(**plan)).summary
    assert set(summary.failures) == {"stale"}
    assert summary.succeeded + summary.failed == 40
    assert summary.succeeded == server.connections - (server.connections > summary.succeeded)


@pytest.mark.parametrize("options", [{"rate": 2}, {"replay": "a gap"}], ids=str)
async def test_a_quiet_schedule_is_not_a_missing_server(options, serve, run_plan):
    """No connection is open for longer than the timeout of a request, since none is needed."""

    def script(peer):
        peer.send(SIZED)
        peer.close()

    server = await serve(script)
    if "replay" in options:
        lines = (json.dumps({"ts": at, "method": "GET", "uri": "/"}) for at in (0.001, 0.501))
        options = {"replay": parse_log(lines)}
    plan = {"url": server.url, "connections": 1, "requests": 2, "timeout_s": 0.2, **options}
    summary = (await run_plan(**plan)).summary
    assert not summary.gave_up
    assert summary.succeeded + summary.failed == 2


async def test_the_report_says_that_requests_were_retried(serve, abench):
    server = await serve(lambda peer: peer.close() if peer.request_count == 3 else peer.send(SIZED))
    ran = await abench("-n", "40", "-c", "2", "-w", "1", server.url)
    assert ran.code == 0
    assert " retried" in ran.out
    assert "closed keep-alive connections without notice" in " ".join(ran.out.split())


@pytest.mark.parametrize("plan", [{"rate": 40}, {"stages": "150ms@40"}], ids=str)
async def test_a_second_copy_of_a_response_is_no_response(plan, serve, run_plan):
    """It arrives while no request is in flight, and would be recognized."""

    def script(peer):
        peer.send(SIZED)
        asyncio.get_running_loop().call_later(0.01, peer.send, SIZED)

    server = await serve(script)
    summary = (await run_plan(url=server.url, connections=1, **plan, duration_s=0.15)).summary
    assert summary.succeeded + summary.failed + summary.unfinished == summary.started
    assert summary.failures["timeout"] == 0
    assert summary.service.max < 10**6


async def test_thresholds_can_use_retried(serve, abench):
    server = await serve(lambda peer: peer.close() if peer.request_count == 3 else peer.send(SIZED))
    arguments = ("-n", "40", "-c", "2", "-w", "1", "--fail-if", "retried>0", "--fail-if", "stale>0")
    ran = await abench(*arguments, server.url)
    assert ran.code == 4
    assert "FAILED  retried>0 is true" in ran.out
    assert "passed  stale>0 is false: 0" in ran.out
