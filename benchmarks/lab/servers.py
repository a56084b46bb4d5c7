"""Servers with one limit each: `python -m benchmarks.lab.servers NAME [PORT]`.

Each delay is a timer and each cost is processor time, so that the limit is the same on any machine.
The port is printed once it listens.
"""

import asyncio
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import cast

from benchmarks.lab import lossy_link, slow_disk

HEAD_END = b"\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
TOO_MANY = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"

Respond = Callable[[asyncio.Transport], object]


class Protocol(asyncio.Protocol):
    """Calls a function for each request, which is all that ends in a blank line."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport of a new connection."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Respond to each request in the data."""
        for _ in range(data.count(HEAD_END)):
            self._respond(self._transport)


def send(transport: asyncio.Transport, response: bytes) -> None:
    """Send a response, unless the client has gone."""
    if not transport.is_closing():
        transport.write(response)


def later(seconds: float, action: Callable[..., object], *arguments: object) -> None:
    """Call after so many seconds."""
    asyncio.get_running_loop().call_later(seconds, action, *arguments)


def quick(transport: asyncio.Transport) -> None:
    """Respond at once: what limits is somewhere else."""
    send(transport, OK)


def distant(transport: asyncio.Transport) -> None:
    """Respond after 20 ms, to any number of requests at once."""
    later(0.02, send, transport, OK)


class Uneven:
    """Responds after 5 to 60 ms, as chance will have it, to any number of requests at once."""

    def __init__(self) -> None:
        self._chance = random.Random(1)

    def __call__(self, transport: asyncio.Transport) -> None:
        """Respond."""
        later(min(0.06, 0.005 + self._chance.expovariate(100)), send, transport, OK)


def computing(transport: asyncio.Transport) -> None:
    """Respond after 2 ms of processor time."""
    end = time.thread_time() + 0.002
    while time.thread_time() < end:
        pass
    send(transport, OK)


def closing(transport: asyncio.Transport) -> None:
    """Respond after 5 ms, and close the connection."""

    def respond() -> None:
        send(transport, CLOSING)
        transport.close()

    later(0.005, respond)


class Failing:
    """Responds after 5 ms, and every third time with an error."""

    number = 0

    def __call__(self, transport: asyncio.Transport) -> None:
        """Respond."""
        self.number += 1
        later(0.005, send, transport, OK if self.number % 3 else UNAVAILABLE)


class Falling:
    """Responds to 200 requests after 5 ms each, and to no more."""

    number = 0

    def __call__(self, transport: asyncio.Transport) -> None:
        """Respond, or do not."""
        self.number += 1
        if self.number <= 200:
            later(0.005, send, transport, OK)


class Limited:
    """Responds to one request in 10 ms, and rejects all others."""

    free_at = 0.0

    def __call__(self, transport: asyncio.Transport) -> None:
        """Respond or reject, both after 5 ms."""
        now = time.monotonic()
        is_allowed = now >= self.free_at
        if is_allowed:
            self.free_at = now + 0.01
        later(0.005, send, transport, OK if is_allowed else TOO_MANY)


class Pooled:
    """Works for 15 ms in one of three threads, as with three connections to a database."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(3)

    def __call__(self, transport: asyncio.Transport) -> None:
        """Respond when a thread has worked for it."""
        work = asyncio.get_running_loop().run_in_executor(self._threads, time.sleep, 0.015)
        work.add_done_callback(lambda _: send(transport, OK))


async def serve_events(listener: socket.socket, respond: Respond) -> None:
    """Serve on an event loop."""
    server = await asyncio.get_running_loop().create_server(
        lambda: Protocol(respond), sock=listener
    )
    await server.serve_forever()


Work = Callable[[], object]


class Locked:
    """Works for 5 ms under a lock: one request at a time, and no processor time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self) -> None:
        """Work for one request."""
        with self._lock:
            time.sleep(0.005)


class Leaking:
    """Works for 10 ms with one of eight connections, of which each 250th use loses one, but one."""

    def __init__(self) -> None:
        self._connections = threading.Semaphore(8)
        self._lock = threading.Lock()
        self._uses, self._lost = 0, 0

    def __call__(self) -> None:
        """Work for one request."""
        self._connections.acquire()
        time.sleep(0.01)
        with self._lock:
            self._uses += 1
            if self._uses % 250 == 0 and self._lost < 7:
                self._lost += 1
                return
        self._connections.release()


class Reading:
    """Reads a page that is not in memory from a disk that takes 10 ms for it."""

    def __init__(self) -> None:
        self._file = slow_disk.open_slow_file(0.01)
        os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_RANDOM)
        self._chance = random.Random(1)

    def __call__(self) -> None:
        """Work for one request."""
        page = self._chance.randrange(slow_disk.FILE_SIZE >> 12)
        os.pread(self._file, 1, page << 12)


def serve_threads(listener: socket.socket, work: Work) -> None:
    """Serve each connection in a thread of its own."""
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=_serve_connection, args=(sock, work), daemon=True).start()


def _serve_connection(sock: socket.socket, work: Work) -> None:
    with sock, suppress(ConnectionError):
        while sock.recv(65_536):
            work()
            sock.sendall(OK)


def serve_one_by_one(listener: socket.socket) -> None:
    """Accept a connection, respond after 5 ms, close it, and only then accept the next."""
    while True:
        sock, _ = listener.accept()
        with sock, suppress(ConnectionError):
            if sock.recv(65_536):
                time.sleep(0.005)
                sock.sendall(CLOSING)


BY_EVENTS: dict[str, Callable[[], Respond]] = {
    "quick": lambda: quick,
    "cpu": lambda: computing,
    "latency": lambda: distant,
    "uneven": Uneven,
    "closing": lambda: closing,
    "errors": Failing,
    "silence": Falling,
    "rate-limit": Limited,
    "pool": Pooled,
}
BY_THREADS: dict[str, Callable[[], Work]] = {
    "lock": Locked,
    "leak": Leaking,
    "disk": Reading,
}
BACKLOGS = {"backlog": 1}
"""How many connections may wait to be accepted, where it is not many."""

LOSS = 0.05  # of all packets


def serve(name: str, port: int) -> None:
    """Serve until a signal."""
    address = "0.0.0.0" if name == "loss" else "127.0.0.1"  # through the link, it has another
    with socket.create_server((address, port), backlog=BACKLOGS.get(name, 4096)) as listener:
        if name == "loss":
            lossy_link.open_link(LOSS)
        work = BY_THREADS[name]() if name in BY_THREADS else None
        print(listener.getsockname()[1], flush=True)
        if work:
            serve_threads(listener, work)
        elif name == "backlog":
            serve_one_by_one(listener)
        else:
            respond = BY_EVENTS["quick" if name == "loss" else name]()
            listener.setblocking(False)
            asyncio.run(serve_events(listener, respond))


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)
