"""A turn is bounded: whoever sends many requests at once waits for others between them.

Counted, and not timed: how much of one connection is answered before another one is.
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
from aserve.handlers.static_site import StaticSite
from aserve.http1.limits import Limits
from aserve.server.event_loops import new_event_loop, standard_event_loop
from aserve.transport import socket_connection
from aserve.transport.connection_limiter import process_limits
from aserve.transport.eventloop import connection
from aserve.transport.eventloop.connection import _MAX_JOINED_RESPONSES, MAX_ROUNDS
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize
from aserve.transport.registry import MODELS
from aserve.transport.socket_connection import MAX_REQUESTS

PATIENCE = 20.0
# In the blocking model each connection has a thread, and the system sees to it that all have turns.
NAMES = [
    name for name, row in MODELS.items() if not row.unavailable_reason() and name != "blocking"
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
OTHER = b"OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n"  # for which nobody waits for a disk


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("turns")
    (folder / "small").write_bytes(b"small")
    os.utime(folder / "small", (1, 1))  # or it would be too young to be remembered
    return folder


@contextmanager
def serving(
    name: str, folder: Path, listener: socket.socket, observe: Callable[..., None]
) -> Iterator[None]:
    """Serve those who have connected before."""
    ours, orders = socket.socketpair()
    work = by_loop if MODELS[name].uses_event_loop else by_thread
    with ours, orders:
        thread = threading.Thread(target=work, args=(name, folder, listener, observe, orders))
        thread.start()
        try:
            yield
        finally:
            ours.send(b"ss")
            thread.join(PATIENCE)


def by_thread(
    name: str,
    folder: Path,
    listener: socket.socket,
    observe: Callable[..., None],
    orders: socket.socket,
) -> None:
    crew = (1, "queue") if MODELS[name].uses_thread_pool else ()  # whose turns cannot overlap
    model = MODELS[name].create_server(StaticSite(Directory(folder)), Limits(), observe, *crew)
    model.run([listener], (orders.fileno(),), 0.0)


def by_loop(
    name: str,
    folder: Path,
    listener: socket.socket,
    observe: Callable[..., None],
    orders: socket.socket,
) -> None:
    async def serve() -> None:
        site, recall = StaticSite(Directory(folder)), ResponseCache(os.fsencode(folder))
        model = EventLoopServer(site, Limits(), PoolSize(1, 8), observe, recall)
        await model.start([listener])
        orders.setblocking(False)
        await asyncio.get_running_loop().sock_recv(orders, 1)
        await model.stop(0)

    loop = standard_event_loop if name == "asyncio" else new_event_loop
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(serve())


def connect(address: Any, source: str) -> socket.socket:
    client = socket.create_connection(address, PATIENCE, source_address=(source, 0))
    client.settimeout(PATIENCE)
    return client


def replies_to(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(1 << 18), b""))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_others_are_served_between_many_requests(name: str, kind: str, folder: Path) -> None:
    most = MAX_REQUESTS
    if MODELS[name].uses_event_loop and kind not in {"errors", "content", "misses", "404"}:
        most = MAX_ROUNDS * _MAX_JOINED_RESPONSES
    assert longest_turn(name, kind, folder) <= 2 * most  # that of being let in, and one behind it


@pytest.mark.parametrize("kind", ["misses", "hits"])
@pytest.mark.parametrize("name", NAMES)
def test_a_turn_ends_when_it_takes_too_long(
    name: str, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (connection, socket_connection):
        monkeypatch.setattr(module, "MAX_TURN_S", -1.0)  # it is over when it has begun
    rounds = MAX_REQUESTS
    if MODELS[name].uses_event_loop and kind == "hits":
        rounds *= _MAX_JOINED_RESPONSES
    assert longest_turn(name, kind, folder) < rounds  # which it is where a count alone ends it


def longest_turn(name: str, kind: str, folder: Path) -> int:
    """Return how many of a client's many requests were served in a row, before another client's."""
    served: list[str] = []
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        fast = stack.enter_context(connect(listener.getsockname(), FAST))
        slow = stack.enter_context(connect(listener.getsockname(), SLOW))
        # All of it has arrived before anybody is let in, and the ends behind it.
        for client, octets in ((fast, KINDS[kind] * MANY), (slow, OTHER * FEW)):
            client.sendall(octets)
            client.shutdown(socket.SHUT_WR)
        stack.enter_context(
            serving(name, folder, listener, lambda client, *_: served.append(client))
        )
        received: list[bytes] = []
        reader = threading.Thread(target=lambda: received.append(replies_to(fast)))
        reader.start()
        assert replies_to(slow).count(b"HTTP/1.1 204 ") == FEW
        reader.join(PATIENCE)
    assert received[0].count(b"\r\nDate: ") == MANY  # nothing is lost, the end included
    return max(len(list(run)) for _, run in groupby(served[: -served[::-1].index(SLOW)]))


def test_whoever_is_told_to_finish_between_two_turns_ends_with_the_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_connection, "MAX_TURN_S", PATIENCE)
    limits = Limits()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        house = socket_connection.ConnectionContext(
            StaticSite(Directory(folder)), limits, None, process_limits(limits)
        )
        talk = socket_connection.SocketConnection(ours, "-", house)
        theirs.sendall(KINDS["misses"] * MAX_REQUESTS + b"\r")
        talk.process_ready()
        assert talk.wants_turn  # what has come behind the last of them is not looked at yet
        talk.close_after_response()
        before = talk.is_closed
        talk.process_ready(readable=False)
        assert (before, talk.is_closed) == (False, True)


class Transport(asyncio.Transport):
    """As much of a transport as a connection needs before it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.is_closed = False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True


def test_a_loops_connection_that_is_told_to_finish_between_two_turns_ends(folder: Path) -> None:
    async def finish() -> None:
        model = EventLoopServer(StaticSite(Directory(folder)), Limits(), PoolSize(1, 8))
        await model.start([])
        client, transport = connection.Connection(model), Transport()
        client.connection_made(transport)
        client.data_received(b"\r\n" * 40_000)  # so much in one read that the next has to wait
        client.close_after_response()
        before = transport.is_closed
        await asyncio.sleep(0)
        assert (before, transport.is_closed) == (False, True)
        client.connection_lost(None)
        await model.stop(0)

    asyncio.run(finish())
