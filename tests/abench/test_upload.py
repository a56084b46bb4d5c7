"""Bodies that are larger than the buffers on their way, and servers that do not want them."""

import socket
import tracemalloc

import pytest

from tests.abench.conftest import OVER

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
BODY = bytes(20_000_000)


def take_all(peer):
    """Have a peer answer when as much has come as was announced, and keep none of it."""
    sock = peer.transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    peer.came = 0

    def data_received(data):
        peer.came += len(data)
        peer.server.largest = max(getattr(peer.server, "largest", 0), peer.came)
        if peer.came > len(BODY):
            peer.came = 0
            peer.send(SIZED)

    peer.data_received = data_received


def refuse(peer):
    """Have a peer answer what has only begun, and end the connection with most of it unread."""

    def data_received(_data):
        peer.send(TOO_LARGE)
        peer.close()

    peer.data_received = data_received


PLANS = {
    "kept": {},
    "one request each": {"keep_alive": False},
    "a schedule": {"rate": 1000},
}


@OVER
@pytest.mark.parametrize("name", PLANS)
async def test_a_large_body_arrives_whole_and_is_not_copied_on_its_way(name, serve, carry_out):
    server = await serve(accept=take_all)
    plan = {"url": server.url, "method": "POST", "body": BODY, "connections": 1, "requests": 2}
    tracemalloc.start()
    try:
        summary = (await carry_out(**plan, **PLANS[name])).summary
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (summary.succeeded, summary.failed) == (2, 0)
    assert server.largest == pytest.approx(len(BODY), abs=1000)
    assert peak < 2.5 * len(BODY)  # the request beside its plan, and one more while it is checked


@OVER
@pytest.mark.parametrize("name", PLANS)
async def test_an_early_refusal_is_read_although_the_body_is_not_sent(name, serve, carry_out):
    # RFC 9112 section 9.5
    server = await serve(accept=refuse)
    plan = {"url": server.url, "method": "POST", "body": BODY, "connections": 2, "requests": 10}
    summary = (await carry_out(**plan, **PLANS[name])).summary
    assert dict(summary.failures) == {"status": 10}
    assert summary.status == {413: 10}
