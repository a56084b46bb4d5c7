"""Who is served at the door, who is let in, and what either of them gets."""

import asyncio
import errno
import os
import socket
import time

import pytest

from aserve.cache.response_cache import ResponseCache
from aserve.config.settings import Settings
from aserve.filesystem.directory import Directory
from aserve.handlers.static_site import StaticSite
from aserve.server.listeners import listen, url
from aserve.transport.eventloop.acceptor import Acceptor
from aserve.transport.eventloop.connection import Connection
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize

ONCE = b"GET /a.txt HTTP/1.0\r\nHost: x\r\n\r\n"
LARGE = b"GET /64k.bin HTTP/1.0\r\nHost: x\r\n\r\n"


class House:
    """A model with its listening socket, and how many connections it has made."""

    def __init__(self, folder, recall):
        self.log = []
        self.settings = Settings(folder, "127.0.0.1", port=0)
        self.recall = ResponseCache(os.fsencode(folder)) if recall else None
        self.model = EventLoopServer(
            StaticSite(Directory(folder)),
            self.settings.limits,
            PoolSize(2, 8),
            lambda *entry: self.log.append(entry),
            self.recall,
        )
        ((self.listener,),) = listen(self.settings)
        self.url = url(self.listener)


@pytest.fixture
async def house(folder):
    (folder / "64k.bin").write_bytes(bytes(range(256)) * 256)
    os.utime(folder / "64k.bin", (1, 1))
    house = House(folder, recall=True)
    await house.model.start([house.listener])
    yield house
    await house.model.stop(0)


@pytest.fixture
def let_in(monkeypatch):
    """Note which protocols are made."""
    made = []
    original = Connection.connection_made

    def note(self, transport):
        made.append(self)
        original(self, transport)

    monkeypatch.setattr(Connection, "connection_made", note)
    return made


async def whole(house, connect, request):
    client = await connect(house.url)
    await client.send(request)
    return await client.rest()


async def until_remembered(house, connect, request):
    """Ask until somebody is served without being let in."""
    expected = await whole(house, connect, request)
    while not house.recall.lookup_head(request, time.time()):
        assert (await whole(house, connect, request)).partition(b"Date")[0]
    return expected


def without_date(reply):
    head, _, body = reply.partition(b"\r\n\r\n")
    return [line for line in head.split(b"\r\n") if not line.startswith(b"Date: ")], body


async def test_a_remembered_reply_that_ends_the_connection_is_given_at_the_door(
    house, connect, let_in
):
    expected = await until_remembered(house, connect, ONCE)
    let_in.clear()
    house.log.clear()
    with socket.socket() as client:
        # As it is accepted the request is there: the loop has not run since.
        client.connect(house.listener.getsockname())
        client.sendall(ONCE)
        client.setblocking(False)
        found = b""
        loop = asyncio.get_running_loop()
        while more := await loop.sock_recv(client, 65_536):
            found += more
    assert without_date(found) == without_date(expected)
    assert let_in == []
    ((address, request, status, octets, _),) = house.log
    assert (address, request.target, status, octets) == ("127.0.0.1", "/a.txt", 200, 5)


async def test_where_too_many_take_their_time_guests_are_let_in_and_counted(
    house, connect, let_in, monkeypatch
):
    expected = await until_remembered(house, connect, ONCE)
    let_in.clear()
    monkeypatch.setattr("aserve.transport.eventloop.acceptor._MAX_PENDING_SENDS", 0)
    assert without_date(await whole(house, connect, ONCE)) == without_date(expected)
    assert len(let_in) == 1


async def test_a_changed_file_is_not_given_from_memory(house, connect, folder):
    await until_remembered(house, connect, ONCE)
    (folder / "a.txt").write_text("another")
    assert (await whole(house, connect, ONCE)).endswith(b"\r\n\r\nanother")


async def test_who_stays_is_let_in_with_what_was_read(house, connect, let_in):
    client = await connect(house.url)
    for _ in range(3):
        status, _, body = await client.get("/a.txt")
        assert (status, body) == (200, b"alpha")
    assert len(let_in) == 1


async def test_half_a_head_is_kept_for_its_other_half(house, connect):
    await until_remembered(house, connect, ONCE)
    client = await connect(house.url)
    await client.send(ONCE[:20])
    await asyncio.sleep(0)
    await client.send(ONCE[20:])
    assert (await client.rest()).endswith(b"alpha")


async def test_two_requests_in_one_piece_get_two_replies(house, connect):
    ask = b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /a.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    reply = await whole(house, connect, ask + last)
    assert reply.count(b"HTTP/1.1 200 OK\r\n") == 2


async def test_who_comes_and_says_nothing_leaves_nothing_behind(house, connect):
    for _ in range(3):
        with socket.create_connection(house.listener.getsockname()):
            pass
    assert (await whole(house, connect, ONCE)).endswith(b"alpha")
    while house.model.connections:  # noqa: ASYNC110 - what is looked at tells nobody
        await asyncio.sleep(0)
    assert not house.model._acceptors[0]._tasks


async def test_who_says_nothing_is_let_in_all_the_same(house, connect):
    await connect(house.url)  # and the kernel waits for a word, for a second
    while not house.model.connections:  # noqa: ASYNC110 - what is looked at tells nobody
        await asyncio.sleep(0)
    (silent,) = house.model.connections
    assert silent.client == "127.0.0.1"


@pytest.fixture
async def door(house):
    """A door without a listening socket of its own, and the loop's side of a pair of sockets."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    theirs.setblocking(False)
    entries = []
    door = Acceptor(
        socket.socket(), house.recall, lambda *e: entries.append(e), lambda _: Connection, 5
    )
    yield door, ours, theirs
    door.close()
    theirs.close()


async def test_a_reply_that_does_not_fit_into_the_socket_arrives_whole(house, door, connect):
    expected = await until_remembered(house, connect, LARGE)
    door, ours, theirs = door
    theirs.sendall(LARGE)
    door._serve_or_hand_over(ours, "127.0.0.1")
    assert len(door._tasks) == 1  # the rest is on its way
    found = b""
    while more := await asyncio.get_running_loop().sock_recv(theirs, 65_536):
        found += more
    assert without_date(found) == without_date(expected)


async def test_to_stop_is_to_wait_for_the_rest_of_a_reply(house, door, connect):
    expected = await until_remembered(house, connect, LARGE)
    _, ours, theirs = door
    theirs.sendall(LARGE)
    house.model._acceptors[0]._serve_or_hand_over(ours, "127.0.0.1")
    stopping = asyncio.create_task(house.model.stop(60))
    found = b""
    while more := await asyncio.get_running_loop().sock_recv(theirs, 4_096):
        found += more
    await stopping
    assert without_date(found) == without_date(expected)


async def test_a_client_that_does_not_read_is_given_up(house, door, connect):
    await until_remembered(house, connect, LARGE)
    door, ours, theirs = door
    door._transfer_timeout = 0.05
    theirs.sendall(LARGE)
    door._serve_or_hand_over(ours, "127.0.0.1")
    await asyncio.gather(*door._tasks)
    assert ours.fileno() == -1


class Crowded:
    """A listening socket that has no descriptor for the next, once."""

    def __init__(self, listener):
        self._listener = listener
        self.refused = 0

    def _accept(self):
        if not self.refused:
            self.refused += 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self._listener._accept()

    def __getattr__(self, name):
        return getattr(self._listener, name)


async def test_without_a_descriptor_guests_wait_in_line(folder, connect):
    house = House(folder, recall=False)
    crowded = Crowded(house.listener)
    await house.model.start([crowded])
    assert (await whole(house, connect, ONCE)).endswith(b"alpha")
    assert crowded.refused == 1
    await house.model.stop(0)
