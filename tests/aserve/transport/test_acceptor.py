"""Clients that the acceptor answers itself, clients that get a connection, and their responses."""

import asyncio
import errno
import os
import socket
import time

import pytest

from aserve.cache.response_cache import ResponseCache
from aserve.config.settings import Settings
from aserve.filesystem.directory import Directory
from aserve.policies.site import Site
from aserve.server.listeners import listen, url
from aserve.transport.eventloop.acceptor import Acceptor
from aserve.transport.eventloop.connection import Connection
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize

ONCE = b"GET /a.txt HTTP/1.0\r\nHost: x\r\n\r\n"
LARGE = b"GET /64k.bin HTTP/1.0\r\nHost: x\r\n\r\n"


class Service:
    """A server with its listening socket, its cache and its log."""

    def __init__(self, directory, has_cache):
        self.log = []
        self.settings = Settings(directory, "127.0.0.1", port=0)
        self.cache = ResponseCache() if has_cache else None
        self.server = EventLoopServer(
            Site.of_files(Directory(directory)),
            self.settings.limits,
            PoolSize(2, 8),
            lambda *entry: self.log.append(entry),
            self.cache,
        )
        ((self.listener,),) = listen(self.settings)
        self.url = url(self.listener)


@pytest.fixture
async def service(directory):
    (directory / "64k.bin").write_bytes(bytes(range(256)) * 256)
    os.utime(directory / "64k.bin", (1, 1))
    service = Service(directory, has_cache=True)
    await service.server.start([service.listener])
    yield service
    await service.server.stop(0)


@pytest.fixture
def connections_made(monkeypatch):
    """Record which connections are made."""
    made = []
    original = Connection.connection_made

    def record(self, transport):
        made.append(self)
        original(self, transport)

    monkeypatch.setattr(Connection, "connection_made", record)
    return made


async def get_all(service, connect, request):
    client = await connect(service.url)
    await client.send(request)
    return await client.read_all()


async def get_until_cached(service, connect, request):
    """Send a request until its response is cached; return the response."""
    expected = await get_all(service, connect, request)
    while not service.cache.lookup_head(request, time.time()):
        assert (await get_all(service, connect, request)).partition(b"Date")[0]
    return expected


def without_date(response):
    head, _, body = response.partition(b"\r\n\r\n")
    return [line for line in head.split(b"\r\n") if not line.startswith(b"Date: ")], body


async def test_a_cached_response_that_closes_the_connection_is_sent_by_the_acceptor(
    service, connect, connections_made
):
    expected = await get_until_cached(service, connect, ONCE)
    connections_made.clear()
    service.log.clear()
    with socket.socket() as client:
        # The request has arrived before the client is accepted: the loop has not run since.
        client.connect(service.listener.getsockname())
        client.sendall(ONCE)
        client.setblocking(False)
        received = b""
        loop = asyncio.get_running_loop()
        while more := await loop.sock_recv(client, 65_536):
            received += more
    assert without_date(received) == without_date(expected)
    assert connections_made == []
    ((address, request, status, body_size, _),) = service.log
    assert (address, request.target, status, body_size) == ("127.0.0.1", "/a.txt", 200, 5)


async def test_while_too_many_sends_are_pending_clients_get_counted_connections(
    service, connect, connections_made, monkeypatch
):
    expected = await get_until_cached(service, connect, ONCE)
    connections_made.clear()
    monkeypatch.setattr("aserve.transport.eventloop.acceptor._MAX_PENDING_SENDS", 0)
    assert without_date(await get_all(service, connect, ONCE)) == without_date(expected)
    assert len(connections_made) == 1


async def test_a_changed_file_is_not_served_from_the_cache(service, connect, directory):
    await get_until_cached(service, connect, ONCE)
    (directory / "a.txt").write_text("another")
    assert (await get_all(service, connect, ONCE)).endswith(b"\r\n\r\nanother")


async def test_a_client_that_keeps_its_connection_gets_one_with_the_data_read(
    service, connect, connections_made
):
    client = await connect(service.url)
    for _ in range(3):
        status, _, body = await client.get("/a.txt")
        assert (status, body) == (200, b"alpha")
    assert len(connections_made) == 1


async def test_half_a_header_is_kept_until_the_rest_arrives(service, connect):
    await get_until_cached(service, connect, ONCE)
    client = await connect(service.url)
    await client.send(ONCE[:20])
    await asyncio.sleep(0)
    await client.send(ONCE[20:])
    assert (await client.read_all()).endswith(b"alpha")


async def test_two_requests_in_one_segment_get_two_responses(service, connect):
    first = b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /a.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    response = await get_all(service, connect, first + last)
    assert response.count(b"HTTP/1.1 200 OK\r\n") == 2


async def test_a_client_that_connects_and_disconnects_leaves_nothing_open(service, connect):
    for _ in range(3):
        with socket.create_connection(service.listener.getsockname()):
            pass
    assert (await get_all(service, connect, ONCE)).endswith(b"alpha")
    while service.server.connections:  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0)
    (acceptor,) = service.server._acceptors
    assert not acceptor._connecting | acceptor._sending


async def test_a_silent_client_gets_a_connection(service, connect):
    await connect(service.url)  # the kernel waits a second for a request
    while not service.server.connections:  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.01)
    (silent,) = service.server.connections
    assert silent.client == "127.0.0.1"


@pytest.fixture
async def acceptor(service):
    """An acceptor without a listening socket of its own, and a pair of sockets."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    theirs.setblocking(False)
    entries = []
    acceptor = Acceptor(
        socket.socket(),
        service.cache,
        lambda *entry: entries.append(entry),
        lambda _: Connection,
        5,
    )
    yield acceptor, ours, theirs
    acceptor.close()
    theirs.close()


async def test_a_response_that_does_not_fit_into_the_socket_arrives_whole(
    service, acceptor, connect
):
    expected = await get_until_cached(service, connect, LARGE)
    acceptor, ours, theirs = acceptor
    theirs.sendall(LARGE)
    acceptor.serve(ours.detach(), "127.0.0.1")
    assert len(acceptor._sending) == 1  # which sends the rest
    received = b""
    while more := await asyncio.get_running_loop().sock_recv(theirs, 65_536):
        received += more
    assert without_date(received) == without_date(expected)


async def test_stopping_waits_for_the_rest_of_a_response(service, acceptor, connect):
    expected = await get_until_cached(service, connect, LARGE)
    _, ours, theirs = acceptor
    theirs.sendall(LARGE)
    service.server._acceptors[0].serve(ours.detach(), "127.0.0.1")
    stopping = asyncio.create_task(service.server.stop(60))
    received = b""
    while more := await asyncio.get_running_loop().sock_recv(theirs, 4_096):
        received += more
    await stopping
    assert without_date(received) == without_date(expected)


async def test_a_slow_client_of_the_acceptor_does_not_delay_the_drain_of_the_others(
    service, acceptor, connect
):
    await get_until_cached(service, connect, LARGE)
    idle = await connect(service.url)
    await idle.get("/a.txt")
    _, ours, theirs = acceptor
    theirs.sendall(LARGE)
    service.server._acceptors[0].serve(ours.detach(), "127.0.0.1")
    await service.server.stop_accepting()
    stopping = asyncio.create_task(service.server.stop(None))
    assert await idle.read_all() == b""  # closed, while the other one has not read a byte
    assert not stopping.done()
    while await asyncio.get_running_loop().sock_recv(theirs, 65_536):
        pass
    await stopping


async def test_a_client_that_does_not_read_is_closed(service, acceptor, connect):
    await get_until_cached(service, connect, LARGE)
    acceptor, ours, theirs = acceptor
    acceptor._transfer_timeout = 0.05
    theirs.sendall(LARGE)
    acceptor.serve(ours.detach(), "127.0.0.1")
    await asyncio.gather(*acceptor._sending)
    theirs.setblocking(True)
    received = b"".join(iter(lambda: theirs.recv(1 << 16), b""))  # up to the end of file
    assert 0 < len(received) < 65_536


class FailingListener:
    """A listening socket whose first accept finds no free descriptor."""

    def __init__(self, listener):
        self._listener = listener
        self.failures = 0

    def _accept(self):
        if not self.failures:
            self.failures += 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self._listener._accept()

    def __getattr__(self, name):
        return getattr(self._listener, name)


async def test_without_a_descriptor_clients_wait_to_be_accepted(directory, connect):
    service = Service(directory, has_cache=False)
    listener = FailingListener(service.listener)
    await service.server.start([listener])
    assert (await get_all(service, connect, ONCE)).endswith(b"alpha")
    assert listener.failures == 1
    await service.server.stop(0)
