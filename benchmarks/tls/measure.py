"""Idle connections that speak TLS, and what handshakes that come at once cost other clients."""

import select
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from benchmarks.idle import KIB, settled
from benchmarks.loads import HOST, Ask, load
from benchmarks.processes import NoMeasurement
from benchmarks.servers import Running, Server, running
from benchmarks.tls.connect import client_context

IDLE = 1_000
"""Idle connections."""

BURST = 200
"""Handshakes that begin at once."""

_TIMEOUT_S = 20.0
_SMALL, _LARGE = "1k.txt", "100k.bin"
_BURSTS = 8


def measure_idle(server: Server, root: Path, _seconds: int) -> dict[str, float]:
    """Return what an idle connection keeps, after a response of 1 KB and then after 100 KB."""
    with running(server, root) as one, ExitStack() as stack:
        load("wrk", Ask(64, scheme="https"), one.port, 1)
        for name in (_LARGE, _SMALL):  # what one connection needs once is not of each
            with _connected(one) as client:
                _get(client, root, name)
        before = settled(one.pid)
        crowd = [stack.enter_context(_connected(one)) for _ in range(IDLE)]
        found = {}
        for figure, name in (("kib_each", _SMALL), ("large_kib_each", _LARGE)):
            for client in crowd:
                _get(client, root, name)
            found[figure] = (settled(one.pid) - before) / IDLE / KIB
    return found | {"held": IDLE}


def measure_burst(server: Server, root: Path, seconds: int) -> dict[str, float]:
    """Return how long one client waits for 1 KB at most when others begin handshakes at once.

    They send what begins a handshake and nothing more, which costs the server its most expensive
    step, and the client next to nothing.
    """
    with running(server, root) as one, _connected(one) as client:
        alone, beside = [], []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            alone.append(_timed_get(client, root))
        for _ in range(_BURSTS):
            with ExitStack() as stack:
                others = [stack.enter_context(_open(one)) for _ in range(BURST)]
                hellos = [_first_flight() for _ in others]
                for other, hello in zip(others, hellos, strict=True):
                    other.send(hello)
                beside.append(max(_timed_gets(client, root, others)))
    return {"burst_ms": median(beside) * 1e3, "alone_ms": median(alone) * 1e3}


def _timed_gets(client: ssl.SSLSocket, root: Path, others: list[socket.socket]) -> Iterator[float]:
    """Yield the time of each request until all others are answered."""
    with select.epoll() as poll:
        for other in others:
            poll.register(other, select.EPOLLIN | select.EPOLLONESHOT)
        waiting, deadline = len(others), time.monotonic() + _TIMEOUT_S
        while waiting:
            if time.monotonic() > deadline:
                raise NoMeasurement(f"{waiting} of {len(others)} handshakes had no answer")
            yield _timed_get(client, root)
            waiting -= len(poll.poll(0, len(others)))


def _timed_get(client: ssl.SSLSocket, root: Path) -> float:
    begun = time.perf_counter()
    _get(client, root, _SMALL)
    return time.perf_counter() - begun


def _open(one: Running) -> socket.socket:
    return socket.create_connection((HOST, one.port), _TIMEOUT_S)


@contextmanager
def _connected(one: Running) -> Iterator[ssl.SSLSocket]:
    with (
        _open(one) as raw,
        client_context().wrap_socket(raw, server_hostname=HOST) as client,
    ):
        yield client


def _get(client: ssl.SSLSocket, root: Path, name: str) -> None:
    """Read a whole response; raises NoMeasurement if it is not the file."""
    content = (root / name).read_bytes()
    client.sendall(f"GET /{name} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    received = b""
    while len(received.partition(b"\r\n\r\n")[2]) < len(content):
        if not (data := client.recv(1 << 18)):
            raise NoMeasurement("a connection was closed before its response")
        received += data
    if not received.endswith(content):
        raise NoMeasurement(f"it does not send the bytes of /{name}")


def _first_flight() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    end = client_context().wrap_bio(incoming, outgoing, server_hostname=HOST)
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake takes two")
