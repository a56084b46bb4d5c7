"""Kept connections that a server ends, or on which it says what nobody asked for."""

import asyncio
import json

import pytest

from abench.replay import parse
from abench.urls import Weighted
from tests.abench.conftest import OVER

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def replayed(number):
    lines = (json.dumps({"ts": n / 1000, "method": "GET", "uri": f"/{n}"}) for n in range(number))
    return parse(lines)


# name: more of a plan that asks twelve times, over URL
PLANS = {
    "one URL": lambda url: {"url": url},
    "several URLs": lambda url: {"url": url, "urls": (Weighted(url), Weighted(url + "b", 2))},
    "with numbers": lambda url: {"url": url + "{n}"},
    "a log": lambda url: {"url": url, "replay": replayed(12)},
    "a schedule": lambda url: {"url": url, "rate": 2000},
    "a pipeline": lambda url: {"url": url, "pipeline": 3},
    "POST": lambda url: {"url": url, "method": "POST", "body": b"x"},
}


@OVER
@pytest.mark.parametrize("octets", [TIMED_OUT, b"220 welcome\r\n", SIZED])
@pytest.mark.parametrize("name", PLANS)
async def test_a_greeting_ends_a_connection_and_no_run(name, octets, serve, carry_out):
    """The first connections are greeted before they are asked, and the others are not."""

    def accept(peer):
        if server.connections <= 2:
            peer.send(octets)

    server = await serve(SIZED, accept=accept)
    plan = {"connections": 2, "requests": 12, **PLANS[name](server.url)}
    summary = (await carry_out(**plan)).summary
    # A greeting that comes when something was asked already is taken for its reply.
    assert summary.succeeded + summary.failed == 12
    assert set(summary.failures) <= {"protocol", "status", "reset", "stale"}
    assert summary.failed <= 6


@OVER
@pytest.mark.parametrize("name", [name for name in PLANS if name != "a pipeline"])
async def test_what_comes_between_requests_ends_a_connection_and_no_run(name, serve, carry_out):
    def script(peer):
        peer.send(SIZED)
        if server.connections == 1:
            peer.send(TIMED_OUT)

    server = await serve(script)
    plan = {"connections": 1, "requests": 12, **PLANS[name](server.url)}
    summary = (await carry_out(**plan)).summary
    assert summary.succeeded + summary.failed == 12
    assert summary.succeeded >= 10


async def ended(serve, carry_out, ending, **plan):
    """Have each connection ended, without a word, when it is asked for the third time."""

    def script(peer):
        if peer.asked == 3:
            getattr(peer, ending)()
        else:
            peer.send(SIZED)

    server = await serve(script)
    summary = (await carry_out(url=server.url, connections=2, requests=40, **plan)).summary
    return server, summary


@OVER
@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize(
    "plan", [{}, {"rate": 5000}, {"method": "PUT"}, {"method": "DELETE"}], ids=str
)
async def test_an_idempotent_request_on_a_stale_connection_is_asked_again(
    ending, plan, serve, carry_out
):
    # RFC 9112 section 9.3.1
    server, summary = await ended(serve, carry_out, ending, **plan)
    assert (summary.succeeded, summary.failed, summary.unfinished) == (40, 0, 0)
    assert summary.retried == len(server.requests) - 40
    assert summary.retried >= 18  # of every third


@OVER
@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_what_is_not_idempotent_is_not_asked_again(ending, serve, carry_out):
    # RFC 9110 section 9.2.2
    server, summary = await ended(serve, carry_out, ending, method="POST", body=b"")
    assert len(server.requests) == 40
    assert summary.retried == 0
    assert summary.succeeded + summary.failures["stale"] == 40
    assert summary.failures["stale"] >= 12


@OVER
async def test_what_was_asked_again_is_not_asked_a_third_time(serve, carry_out):
    server = await serve(lambda peer: peer.close())
    summary = (await carry_out(url=server.url, connections=2, requests=10)).summary
    assert dict(summary.failures) == {"reset": 10}
    assert summary.retried == 2  # on the two that were open before the start
    assert len(server.requests) == 12


@OVER
async def test_a_response_that_has_begun_is_never_asked_again(serve, carry_out):
    def script(peer):
        if peer.asked == 2:
            peer.send(SIZED[:20])
            peer.close()
        else:
            peer.send(SIZED)

    server = await serve(script)
    summary = (await carry_out(url=server.url, connections=1, requests=10)).summary
    assert (summary.succeeded, dict(summary.failures)) == (5, {"protocol": 5})
    assert (summary.retried, len(server.requests)) == (0, 10)


@OVER
async def test_waiting_for_a_connection_counts_from_when_it_was_first_asked(serve, carry_out):
    def script(peer):
        if peer.asked == 2:
            asyncio.get_running_loop().call_later(0.05, peer.close)
        else:
            peer.send(SIZED)

    server = await serve(script)
    summary = (await carry_out(url=server.url, connections=1, requests=2)).summary
    assert (summary.succeeded, summary.retried) == (2, 1)
    assert summary.service.max >= 49_000


async def test_it_is_said_that_requests_were_asked_again(serve, abench):
    server = await serve(lambda peer: peer.close() if peer.asked == 3 else peer.send(SIZED))
    ran = await abench("-n", "40", "-c", "2", "-w", "1", server.url)
    assert ran.code == 0
    assert "asked again" in ran.out
    assert "closed kept connections without saying so" in " ".join(ran.out.split())
