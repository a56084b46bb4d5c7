"""How long a server holds up a client: the processor time it takes between request and response.

By the clock, a client waits for all that the machine does meanwhile: other processes, and the host
of a virtual machine. The server's own processor time has nothing of them. What is in it is what the
server has put before the client, on its event loop or in threads that the loop waits for.

Run as a program, so that no other load shares its interpreter:
python -m benchmarks.held PORT SECONDS PID...
"""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from benchmarks.loads import HOST, Ask
from benchmarks.processes import NoMeasurement, family, processor_clock
from benchmarks.servers import HERE, LOAD_CORE

_ASK = Ask(1)
_PAUSE_S = 0.0005
"""Between two requests, so that they come at any moment of the other work."""

_TIMEOUT_S = 20.0


class Held(NamedTuple):
    """Of all requests, in milliseconds of the server's processor time."""

    p99_ms: float
    max_ms: float


def held(pid: int, port: int, seconds: int) -> Held:
    """Return how long a server holds up a client that asks for a small file for some seconds."""
    words = [sys.executable, "-m", "benchmarks.held", str(port), str(seconds)]
    words = ["taskset", "-c", LOAD_CORE, *words, *map(str, family(pid))]
    timeout = seconds + 2 * _TIMEOUT_S
    ran = subprocess.run(
        words, capture_output=True, text=True, cwd=HERE.parent, timeout=timeout, check=False
    )
    if ran.returncode:
        raise NoMeasurement(f"the client that is held up: {ran.stderr.strip()[-200:]}")
    return Held(*json.loads(ran.stdout))


def main() -> None:
    """Measure, and print what was found."""
    port, seconds, *pids = map(int, sys.argv[1:])
    with suppress(OSError):  # of root only: it is not to wait for what receives the pages
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    end = time.monotonic() + seconds
    clocks = list(map(processor_clock, pids))
    with socket.create_connection((HOST, port), _TIMEOUT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        found = samples(connection, lambda: sum(map(time.clock_gettime, clocks)))
        times = [next(found) * 1e3]
        while time.monotonic() < end:
            time.sleep(_PAUSE_S)
            times.append(next(found) * 1e3)
    times.sort()
    print(json.dumps([times[len(times) * 99 // 100], times[-1]]))


def samples(connection: socket.socket, clock: Callable[[], float]) -> Iterator[float]:
    """Yield by how much a clock advances between a request and its complete response.

    The first response tells how long all are: it is not timed. Raises NoMeasurement if it is not
    that of the file, or if the connection is closed.
    """
    request = f"GET {_ASK.target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    connection.sendall(request)
    size = _size_of_response(connection)
    while True:
        before = clock()
        connection.sendall(request)
        _receive(connection, size)
        yield clock() - before


def _size_of_response(connection: socket.socket) -> int:
    """Read a response; return how many bytes it has."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += _receive(connection, 1)
    lines = head.decode("latin-1").split("\r\n")
    fields = dict(line.lower().split(":", 1) for line in lines[1:] if line)
    status = int(lines[0].split()[1])
    if status != http.client.OK or "content-length" not in fields:
        raise NoMeasurement(f"it answers {_ASK.target} with {lines[0]}")
    length = int(fields["content-length"])
    _receive(connection, length)
    return len(head) + length


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise NoMeasurement("it closed the connection")
        data += part
    return data


if __name__ == "__main__":
    main()
