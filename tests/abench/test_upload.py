"""Bodies that are larger than all buffers, and servers that reject them."""

import re
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


def store(statuses):
    """Make a peer read each request with its body and respond with a status, in turns."""

    def accept(peer):
        received = b""

        def data_received(data):
            nonlocal received
            received += data
            while (length := whole_request(received)) <= len(received):
                peer.server.requests.append(received[:length])
                received = received[length:]
                status = statuses[len(peer.server.requests) % len(statuses)]
                peer.send(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)

        peer.data_received = data_received

    return accept


def whole_request(received):
    head, end, _ = received.partition(b"\r\n\r\n")
    found = re.search(rb"Content-Length: (\d+)", head)
    length = int(found[1]) if found else 0
    return len(head) + len(end) + length if end else len(received) + 1


@pytest.mark.parametrize("name", ["", "{n}"])
@pytest.mark.parametrize(
    "how", [{}, {"keep_alive": False}, {"pipeline": 4}, {"rate": 10_000.0}], ids=str
)
async def test_what_is_sent_is_counted_to_the_byte(how, name, serve, run_plan):
    server = await serve(accept=store([201, 500]))
    plan = {"url": server.url + name, "method": "PUT", "body": b"12345{n}", "requests": 40}
    summary = (await run_plan(**plan, **how, connections=2)).summary
    assert summary.status == {201: 20, 500: 20}
    assert summary.bytes_sent == sum(map(len, server.requests))


async def test_names_are_stored_and_the_same_ones_deleted(serve, abench, tmp_path):
    # {n} is also in the file, where it is content.
    server = await serve(accept=store([201, 204]))
    (tmp_path / "file").write_bytes(b"\0{n}\xff")
    run = ("-n", "20", "-c", "3", "-w", "2", "--expect", "201,204", "--json", "-")
    put = await abench(*run, "-X", "PUT", "-d", f"@{tmp_path}/file", server.url + "{n}")
    stored, server.requests[:] = list(server.requests), []
    delete = await abench(*run, "-X", "DELETE", server.url + "{n}")
    names = [{request.split()[1] for request in each} for each in (stored, server.requests)]
    assert names == [{b"/%d" % number for number in range(1, 21)}] * 2
    assert all(request.endswith(b"\r\n\r\n\0{n}\xff") for request in stored)
    for ran, sent in ((put, stored), (delete, server.requests)):
        assert ran.json["requests"]["succeeded"] == 20
        assert ran.json["planned"]["expect"] == ["201", "204"]
        assert ran.json["bytes_sent"] == sum(map(len, sent))
    assert "expecting 201 or 204" in put.err
    assert " sent\n" in put.err
    assert " sent\n" not in delete.err
