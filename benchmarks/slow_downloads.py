"""What thousands of downloads cost a server whose clients read only a few KB a second.

Run as a program, it is those clients: python -m benchmarks.slow_downloads PORT NUMBER SECONDS
"""

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.idle import KIB, MIB, settled
from benchmarks.loads import HOST, Ask, load
from benchmarks.processes import (
    DESCRIPTORS,
    NoMeasurement,
    allow_descriptors,
    end,
    processor_seconds,
)
from benchmarks.servers import HERE, LOAD_CORE, Server, running

NUMBER, FEW = 16_384, 2_000
FILE = "100m.bin"
READ_SIZE = 4_096
"""Bytes that each client reads in a second."""

_PROCESSES = 2
_ADDRESSES = 8
"""Of 127.0.0.0/8, from which the clients come: the ports of one do not suffice for all."""

_SPARE = 200
_LEAST_S, _MOST_S = 10, 60
_TIMEOUT_S = 60.0
_TICKS = 20
"""A second has so many, and a client reads in one of them."""

_RECEIVE_BUFFER = 8_192
_SEGMENT = 1_448
"""Bytes of a segment, as over Ethernet: loopback's are so large that the kernel would take 2 MB of
the file for each client at once."""

_REQUEST = f"GET /{FILE} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


def measure(server: Server, root: Path, seconds: int) -> dict[str, float]:
    """Return what slow downloads cost a server that was just started, in memory and processor time.

    They are watched for so many seconds, and 10 at least.
    """
    number = number_of(seconds)
    watched = min(max(seconds, _LEAST_S), _MOST_S)
    with running(server, root) as one:
        load("wrk", Ask(1), one.port, 1)
        before = settled(one.pid)
        with _clients(one.port, number, watched) as clients:
            opening = [_said(client)["open_s"] for client in clients]
            used = processor_seconds(one.pid)
            begun = time.perf_counter()
            found = [_said(client) for client in clients]
            share = (processor_seconds(one.pid) - used) / (time.perf_counter() - begun)
            after = settled(one.pid)
    _require_all(found)
    return {
        "slow_kib_each": (after - before) / number / KIB,
        "cpu_ms_s": share * 1e3,
        "held": number,
        "slow_mb_s": sum(one["bytes"] for one in found) / watched / 1e6,
        "starved": sum(one["starved"] for one in found) / sum(one["reads"] for one in found),
        "open_s": max(opening),
        "before_mib": before / MIB,
    }


def number_of(seconds: int, descriptors: int = DESCRIPTORS) -> int:
    """Return how many downloads there are: FEW if it is only to be seen whether it works.

    Otherwise NUMBER, or as many as descriptors allow: a server may have a socket and a file for
    each.
    """
    return min(NUMBER if seconds > 1 else FEW, descriptors // 2 - _SPARE)


@contextmanager
def _clients(port: int, number: int, seconds: int) -> Iterator[list["subprocess.Popen[str]"]]:
    """Run the clients until the block ends."""
    words = [sys.executable, "-m", "benchmarks.slow_downloads", str(port)]
    started: list[subprocess.Popen[str]] = []
    try:
        for share in shares(number):
            client = subprocess.Popen(
                ["taskset", "-c", LOAD_CORE, *words, str(share), str(seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=HERE.parent,
            )
            started.append(client)
        yield started
    finally:
        for process in started:
            end(process)


def shares(number: int) -> list[int]:
    """Return how many clients each process is."""
    return [number // _PROCESSES + (rank < number % _PROCESSES) for rank in range(_PROCESSES)]


def _said(client: "subprocess.Popen[str]") -> dict[str, float]:
    """Return the next line of a process of clients."""
    assert client.stdout is not None
    line = client.stdout.readline()
    if not line:
        raise NoMeasurement(f"the clients ended with {client.wait()}")
    said: dict[str, float] = json.loads(line)
    return said


def _require_all(found: Sequence[dict[str, float]]) -> None:
    """Raise NoMeasurement if a server has ended downloads."""
    if closed := sum(one["closed"] for one in found):
        raise NoMeasurement(f"{closed:,.0f} downloads were ended by the server")


def main() -> None:
    """Open the connections, say so, read slowly, and say what came; wait until it is ended."""
    port, number, seconds = map(int, sys.argv[1:])
    allow_descriptors()
    begun = time.perf_counter()
    clients = opened(port, number)
    print(json.dumps({"open_s": time.perf_counter() - begun}), flush=True)
    print(json.dumps(read_slowly(clients, seconds)), flush=True)
    sys.stdin.read()


def opened(port: int, number: int) -> list[socket.socket]:
    """Open connections from several addresses, and have the first bytes of each download."""
    clients = []
    with select.epoll() as poll:
        for place in range(number):
            client = _connecting(port, f"127.0.0.{2 + place % _ADDRESSES}")
            clients.append(client)
            poll.register(client, select.EPOLLOUT)
        waiting = {client.fileno(): client for client in clients}
        deadline = time.monotonic() + _TIMEOUT_S
        while waiting:
            if time.monotonic() > deadline:
                raise SystemExit(f"{len(waiting)} downloads did not begin in {_TIMEOUT_S:.0f} s")
            for descriptor, event in poll.poll(1.0):
                if event & select.EPOLLOUT:
                    waiting[descriptor].send(_REQUEST)
                    poll.modify(descriptor, select.EPOLLIN)
                else:
                    poll.unregister(descriptor)
                    del waiting[descriptor]
    return clients


def _connecting(port: int, address: str) -> socket.socket:
    client = socket.socket()
    client.setblocking(False)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT)
    client.bind((address, 0))
    client.connect_ex((HOST, port))
    return client


def read_slowly(clients: Sequence[socket.socket], seconds: float) -> dict[str, float]:
    """Have each client read once a second; return the bytes, and how often none were there.

    closed: how many downloads have ended.
    """
    found = {"bytes": 0, "reads": 0, "starved": 0, "closed": 0}
    begun = time.monotonic()
    for tick in range(int(seconds * _TICKS)):
        time.sleep(max(0, begun + tick / _TICKS - time.monotonic()))
        for client in clients[tick % _TICKS :: _TICKS]:
            found["reads"] += 1
            try:
                data = client.recv(READ_SIZE)
            except BlockingIOError:
                found["starved"] += 1
            except OSError:
                found["closed"] += 1
            else:
                found["bytes"] += len(data)
                found["closed"] += not data
    return dict(found)


if __name__ == "__main__":
    main()
