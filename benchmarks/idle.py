"""What many idle connections cost: memory, and latency of the busy ones."""

import select
import socket
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.loads import HOST, Ask, load
from benchmarks.processes import DESCRIPTORS, NoMeasurement, resident
from benchmarks.servers import Server, running

NUMBER = 10_000
BUSY = Ask(64)
_REQUEST = b"GET /1k.txt HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_BODY = 1_024
_SETTLED = 2.0
"""Seconds until memory is read: a server may free memory after the last event."""
_TIMEOUT_S = 60.0
KIB, MIB = 1 << 10, 1 << 20


def measure(server: Server, root: Path, seconds: int) -> dict[str, float]:
    """Return what NUMBER idle connections (or all it holds) cost a server that was just started.

    Each has had one response before it is idle. The busy connections run first without the idle
    ones, so that memory which only load needs is not counted for idle connections.
    """
    number = min(NUMBER, server.holds)
    if number + 200 > DESCRIPTORS:
        raise NoMeasurement(f"only {DESCRIPTORS} descriptors may be open")
    with running(server, root) as one:
        load("wrk", BUSY, one.port, 1)
        alone = load("wrk", BUSY, one.port, seconds)
        before = settled(one.pid)
        begun = time.perf_counter()
        crowd = opened(one.port, number)
        try:
            opening = time.perf_counter() - begun
            idle = settled(one.pid)
            beside = load("wrk", BUSY, one.port, seconds)
            require_open(crowd)
        finally:
            for connection in crowd:
                connection.close()
        return {
            "kib_each": (idle - before) / number / KIB,
            "held": number,
            "open_s": opening,
            "p99_alone_ms": alone.p99_ms,
            "p99_beside_ms": beside.p99_ms,
            "before_mib": before / MIB,
            "after_mib": settled(one.pid) / MIB,
        }


def settled(pid: int) -> int:
    """Return the resident bytes of a server, a moment later."""
    time.sleep(_SETTLED)
    return resident(pid)


def opened(port: int, number: int) -> list[socket.socket]:
    """Open so many connections at once, and read one whole response from each."""
    crowd = []
    with select.epoll() as poll:
        for _ in range(number):
            connection = socket.socket()
            crowd.append(connection)
            connection.setblocking(False)
            connection.connect_ex((HOST, port))
            poll.register(connection, select.EPOLLOUT)
        serve(poll, {connection.fileno(): connection for connection in crowd})
    return crowd


def serve(poll: select.epoll, waiting: dict[int, socket.socket]) -> None:
    """Send a request on each open connection and read its response; return when all are done."""
    received: dict[int, bytes] = {}
    deadline = time.monotonic() + _TIMEOUT_S
    while waiting:
        if time.monotonic() > deadline:
            raise NoMeasurement(f"{len(waiting)} connections had no response in {_TIMEOUT_S:.0f} s")
        for descriptor, event in poll.poll(1.0):
            connection = waiting[descriptor]
            if event & select.EPOLLOUT:
                connection.send(_REQUEST)
                poll.modify(descriptor, select.EPOLLIN)
                continue
            data = received.get(descriptor, b"") + read(connection)
            received[descriptor] = data
            if len(data.partition(b"\r\n\r\n")[2]) >= _BODY:
                poll.unregister(descriptor)
                del waiting[descriptor]


def read(connection: socket.socket) -> bytes:
    """Return what has arrived; raise NoMeasurement if the connection has ended."""
    try:
        data = connection.recv(65_536)
    except OSError as error:
        raise NoMeasurement(f"a connection failed: {error}") from error
    if not data:
        raise NoMeasurement("a connection was closed before its response")
    return data


def require_open(crowd: list[socket.socket]) -> None:
    """Raise NoMeasurement if a server has closed idle connections."""
    closed = 0
    for connection in crowd:
        with suppress(BlockingIOError):
            closed += not connection.recv(1)
    if closed:
        raise NoMeasurement(f"{closed} of {len(crowd)} idle connections were closed meanwhile")
