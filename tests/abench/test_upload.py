"""Bodies that are larger than all buffers, and servers that reject them."""

import socket
import tracemalloc

import pytest

from tests.abench.conftest import TRANSPORTS

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
BODY = bytes(12_000_000)  # more than the kernel buffers on both sides


def read_all(peer):
    """Make a peer respond once it has received the whole body, and store none of it."""
    sock = peer.transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    peer.received = 0

    def data_received(data):
        peer.received += len(data)
        peer.server.largest = max(getattr(peer.server, "largest", 0), peer.received)
        if peer.received > len(BODY):
            peer.received = 0
            peer.send(SIZED)

    peer.data_received = data_received


def reject(peer):
    """Make a peer respond to the first bytes, and close with most of the body unread."""

    def data_received(_data):
        peer.send(TOO_LARGE)
        peer.close()

    peer.data_received = data_received


PLANS = {
    "keep-alive": {},
    "one connection each": {"keep_alive": False},
    "a schedule": {"rate": 1000},
}


@TRANSPORTS
@pytest.mark.parametrize("name", PLANS)
async def test_a_large_body_is_sent_whole_and_not_copied(name, serve, run_plan):
    server = await serve(accept=read_all)
    plan = {"url": server.url, "method": "POST", "body": BODY, "connections": 1, "requests": 2}
    tracemalloc.start()
    try:
        summary = (await run_plan(**plan, **PLANS[name])).summary
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (summary.succeeded, summary.failed) == (2, 0)
    assert server.largest == pytest.approx(len(BODY), abs=1000)
    assert peak < 2.5 * len(BODY)  # the request, its plan, and one more copy during validation


@TRANSPORTS
@pytest.mark.parametrize("name", PLANS)
async def test_an_early_rejection_is_read_although_the_body_is_not_sent(name, serve, run_plan):
    # RFC 9112 section 9.5
    server = await serve(accept=reject)
    plan = {"url": server.url, "method": "POST", "body": BODY, "connections": 2, "requests": 4}
    summary = (await run_plan(**plan, **PLANS[name])).summary
    assert dict(summary.failures) == {"status": 4}
    assert summary.status == {413: 4}
