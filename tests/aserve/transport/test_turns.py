"""A turn is bounded: a client that sends many requests at once shares the server with others.

Counted and not timed: how many requests of one connection are handled before another one's.
"""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from aserve.cache.response_cache import ResponseCache
from aserve.filesystem.directory import Directory
from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.server.event_loops import new_event_loop, standard_event_loop
from aserve.transport import socket_connection
from aserve.transport.connection_context import ConnectionContext
from aserve.transport.connection_limiter import process_limits
from aserve.transport.eventloop import connection
from aserve.transport.eventloop.connection import _MAX_JOINED_RESPONSES
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize
from aserve.transport.registry import DEFAULT, MODELS
from aserve.transport.turns import MAX_REQUESTS_PER_TURN
from tests.marks import slow_except

TIMEOUT = 60.0
# In the blocking model each connection has a thread, and the system's scheduler shares the time.
# So it does among processes, and in iterative nothing is shared.
# A thread for each connection; turns of epoll's, and the second client may not be accepted yet.
NO_TURNS = {"blocking", "multi-reactor", "iterative", "fork", "prefork"}
NAMES = [
    name for name, row in MODELS.items() if not row.unavailable_reason() and name not in NO_TURNS
]
MANY, FEW = 1_500, 5
FAST, SLOW = "127.0.0.2", "127.0.0.1"

KINDS = {
    "misses": b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
    "hits": b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n",
    "errors": b"PATCH /small HTTP/1.1\r\nHost: a\r\n\r\n",
    "ranges": b"GET /small HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2,4-4\r\n\r\n",
    "404": b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n",
    "content": b"PUT /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n",
}
OTHER = b"OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n"  # needs no disk


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("turns")
    (directory / "small").write_bytes(b"small")
    os.utime(directory / "small", (1, 1))  # old enough to be cached
    return directory


@contextmanager
def serving(
    name: str, directory: Path, listener: socket.socket, observer: Callable[..., None]
) -> Iterator[None]:
    """Serve the clients that have connected before."""
    ours, control = socket.socketpair()
    work = serve_on_loop if MODELS[name].uses_event_loop else serve_on_thread
    with ours, control:
        thread = threading.Thread(target=work, args=(name, directory, listener, observer, control))
        thread.start()
        try:
            yield
        finally:
            ours.send(b"ss")
            thread.join(TIMEOUT)


def serve_on_thread(
    name: str,
    directory: Path,
    listener: socket.socket,
    observer: Callable[..., None],
    control: socket.socket,
) -> None:
    # One thread, so that turns cannot overlap.
    pool_options = (1, "queue")[: len(MODELS[name].settings)]
    server = MODELS[name].create_server(
        Site.of_files(Directory(directory)), Limits(), observer, *pool_options
    )
    server.run([listener], (control.fileno(),), 0.0)


def serve_on_loop(
    name: str,
    directory: Path,
    listener: socket.socket,
    observer: Callable[..., None],
    control: socket.socket,
) -> None:
    async def serve() -> None:
        site, cache = Site.of_files(Directory(directory)), ResponseCache()
        server = EventLoopServer(site, Limits(), PoolSize(1, 8), observer, cache)
        await server.start([listener])
        control.setblocking(False)
        await asyncio.get_running_loop().sock_recv(control, 1)
        await server.stop(0)

    loop = standard_event_loop if name == "asyncio" else new_event_loop
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(serve())


def connect(address: Any, source: str) -> socket.socket:
    client = socket.create_connection(address, TIMEOUT, source_address=(source, 0))
    client.settimeout(TIMEOUT)
    return client


def read_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(1 << 18), b""))


def alone_if_proactor(*quick: str) -> list[object]:
    """Return the models as parameters, proactors marked to run alone, and all but some slow.

    The kernel may accept a proactor's clients by a thread of its own, which other work delays by
    some turns.
    """
    others = [name for name in NAMES if not name.startswith("proactor")]
    proactors = [name for name in NAMES if name.startswith("proactor")]
    return [
        *slow_except(others, *quick),
        *(pytest.param(name, marks=pytest.mark.alone) for name in proactors),
    ]


@pytest.mark.parametrize("kind", slow_except(KINDS, "misses", "hits", "content"))
@pytest.mark.parametrize("name", alone_if_proactor(DEFAULT, "reactor"))
def test_other_clients_are_served_between_many_requests(
    name: str, kind: str, directory: Path
) -> None:
    max_turn = MAX_REQUESTS_PER_TURN
    if MODELS[name].uses_event_loop and kind not in {"errors", "content", "misses", "404"}:
        max_turn = MAX_REQUESTS_PER_TURN * _MAX_JOINED_RESPONSES
    # The first turn, and one after it. A proactor is told of the accept and of what was received by
    # completions of their own, each of which may come a turn later.
    turns = 4 if name.startswith("proactor") else 2
    assert longest_turn(name, kind, directory) <= turns * max_turn


@pytest.mark.parametrize("kind", ["misses", "hits"])
@pytest.mark.parametrize("name", alone_if_proactor(DEFAULT, "epoll", "reactor"))
def test_a_turn_ends_when_it_takes_too_long(
    name: str, kind: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (connection, socket_connection):
        monkeypatch.setattr(module, "MAX_TURN_S", -1.0)  # a turn is over when it begins
    max_turn = MAX_REQUESTS_PER_TURN
    if MODELS[name].uses_event_loop and kind == "hits":
        max_turn *= _MAX_JOINED_RESPONSES
    assert longest_turn(name, kind, directory) < max_turn  # which the count alone would allow


def longest_turn(name: str, kind: str, directory: Path) -> int:
    """Return how many requests of a client were served in a row, before one of another client."""
    served: list[str] = []
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        fast = stack.enter_context(connect(listener.getsockname(), FAST))
        slow = stack.enter_context(connect(listener.getsockname(), SLOW))
        # All requests and both ends of file have arrived before the server accepts.
        for client, data in ((fast, KINDS[kind] * MANY), (slow, OTHER * FEW)):
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        stack.enter_context(
            serving(name, directory, listener, lambda client, *_: served.append(client))
        )
        received: list[bytes] = []
        reader = threading.Thread(target=lambda: received.append(read_all(fast)))
        reader.start()
        assert read_all(slow).count(b"HTTP/1.1 204 ") == FEW
        reader.join(TIMEOUT)
    assert received[0].count(b"\r\nDate: ") == MANY  # no response is lost, nor the end of file
    return max(len(list(run)) for _, run in groupby(served[: -served[::-1].index(SLOW)]))


def test_close_after_response_between_two_turns_closes_after_the_next_turn(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_connection, "MAX_TURN_S", TIMEOUT)
    limits = Limits()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        context = ConnectionContext(
            Site.of_files(Directory(directory)), limits, None, process_limits(limits)
        )
        client = socket_connection.SocketConnection(ours, "-", context)
        theirs.sendall(KINDS["misses"] * MAX_REQUESTS_PER_TURN + b"\r")
        client.process_ready()
        assert client.wants_turn  # the data after the last request is not parsed yet
        client.close_after_response()
        before = client.is_closed
        client.process_ready(readable=False)
        assert (before, client.is_closed) == (False, True)


class Transport(asyncio.Transport):
    """The part of a transport that a connection uses before it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.is_closed = False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True


def test_close_after_response_between_two_turns_closes_an_event_loop_connection(
    directory: Path,
) -> None:
    async def finish() -> None:
        server = EventLoopServer(Site.of_files(Directory(directory)), Limits(), PoolSize(1, 8))
        await server.start([])
        client, transport = connection.Connection(server), Transport()
        client.connection_made(transport)
        client.data_received(b"\r\n" * 40_000)  # so large a read that the next one has to wait
        client.close_after_response()
        before = transport.is_closed
        await asyncio.sleep(0)
        assert (before, transport.is_closed) == (False, True)
        client.connection_lost(None)
        await server.stop(0)

    asyncio.run(finish())
