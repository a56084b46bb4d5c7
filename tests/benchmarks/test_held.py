"""How long a server holds up a client is what its clock says between request and response."""

import socket
from collections.abc import Iterator
from itertools import count

import pytest

from benchmarks.held import samples
from benchmarks.processes import NoMeasurement

RESPONSE = b"HTTP/1.1 200 OK\r\nServer: any\r\nContent-Length: 4\r\n\r\ntext"


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    client, server = socket.socketpair()
    with client, server:
        client.settimeout(30)
        yield client, server


def test_the_clock_is_read_around_each_response(ends: tuple[socket.socket, socket.socket]) -> None:
    client, server = ends
    readings = iter([1.0, 1.5, 2.0, 5.0])
    found = samples(client, lambda: next(readings))
    server.sendall(RESPONSE * 3)
    assert [next(found), next(found)] == [0.5, 3.0]
    assert server.recv(1_000).count(b"GET /1k.txt HTTP/1.1\r\nHost: ") == 3


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nte",
    ],
)
def test_another_response_is_no_measurement(
    ends: tuple[socket.socket, socket.socket], response: bytes
) -> None:
    client, server = ends
    server.sendall(response)
    server.shutdown(socket.SHUT_WR)
    with pytest.raises(NoMeasurement):
        next(samples(client, lambda: next(count())))
