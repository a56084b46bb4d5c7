"""The default model behind a proxy: who is answered at once, who waits, and what is logged."""

import asyncio
import logging
import os
import socket
import time
from base64 import b64encode

import pytest

import aserve
from aserve.cache.response_cache import ResponseCache
from aserve.config.settings import Settings
from aserve.filesystem.directory import Directory
from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.server.listeners import listen
from aserve.transport.connection_limiter import ConnectionLimiter, Decision, ProcessLimits
from aserve.transport.eventloop.connection import Connection
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize
from aserve.transport.proxy_header import ProxyHeaderError
from aserve.transport.proxy_protocol import ProxyProtocol
from aserve.transport.registry import DEFAULT
from tests.aserve.transport.proxy_headers import LOCAL, binary, block, line
from tests.calls import count_calls

ONCE = b"GET /a.txt HTTP/1.0\r\n\r\n"
KEPT = b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n"
FROM_HERE = {"proxy_protocol": True, "proxy_trust": ("127.0.0.0/8",)}


class Service:
    """A server behind a proxy that is trusted, with its log."""

    def __init__(self, directory, **limits):
        self.log = []
        self.cache = ResponseCache()
        settings = Settings(directory, "127.0.0.1", port=0, limits=Limits(**limits))
        self.server = EventLoopServer(
            Site.of_files(Directory(directory)),
            settings.limits,
            PoolSize(2, 8),
            lambda *entry: self.log.append(entry),
            self.cache,
            proxy_protocol=ProxyProtocol(FROM_HERE["proxy_trust"]),
        )
        ((self.listener,),) = listen(settings)
        self.address = self.listener.getsockname()

    @property
    def clients(self):
        """The clients that were answered, in order."""
        return [entry[0] for entry in self.log]

    async def connect(self, *parts):
        """Return a connection on which each part was sent by itself."""
        client = socket.socket()
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, self.address)
        for part in parts:
            await loop.sock_sendall(client, part)
        return client

    async def answer(self, *parts):
        return await read_to_end(await self.connect(*parts))

    async def wait_for(self, condition):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.001)


async def read_to_end(client):
    loop = asyncio.get_running_loop()
    received = b""
    try:
        while data := await loop.sock_recv(client, 65_536):
            received += data
    except ConnectionResetError:
        pass
    finally:
        client.close()
    return received


@pytest.fixture
async def service(directory):
    service = Service(directory)
    await service.server.start([service.listener])
    yield service
    await service.server.stop(0)


async def test_a_cached_response_is_sent_at_once_and_logged_for_the_client(service, monkeypatch):
    made = []
    original = Connection.connection_made
    monkeypatch.setattr(
        Connection, "connection_made", lambda *both: made.append(both) or original(*both)
    )
    while not service.cache.lookup_head(ONCE, time.time()):
        assert (await service.answer(line("192.0.2.1") + ONCE)).endswith(b"alpha")
    made.clear()
    service.log.clear()
    for header in (line("192.0.2.7"), binary("2001:db8::7")):
        with socket.socket() as client:
            # It has arrived before the client is accepted: the loop has not run since.
            client.connect(service.address)
            client.sendall(header + ONCE)
            client.setblocking(False)
            assert (await read_to_end(client)).endswith(b"\r\n\r\nalpha")
    assert made == []
    assert (await service.answer(block(LOCAL, 0, b"") + ONCE)).endswith(b"\r\n\r\nalpha")
    assert len(made) == 1  # a proxy may say in a request for whom it asks
    assert service.clients == ["192.0.2.7", "2001:db8::7", "127.0.0.1"]


async def test_a_header_that_is_there_is_cheap(service):
    """No task, no timer and no callback: some calls more than without it. See test_cost.py."""
    while not service.cache.lookup_head(ONCE, time.time()):
        await service.answer(line("192.0.2.1") + ONCE)
    (acceptor,) = service.server._acceptors

    def cost(accept, data):
        counts = []
        for _ in range(3):  # the first of a second, or of an address, has more to do
            ours, theirs = socket.socketpair()
            with theirs:
                theirs.sendall(data)
                descriptor = ours.detach()
                counts.append(count_calls(lambda: accept(descriptor, "127.0.0.1")))  # noqa: B023
                assert theirs.recv(65_536).endswith(b"alpha")
        return min(counts)

    without = cost(acceptor.serve, ONCE)
    for header in (line("192.0.2.1"), binary("2001:db8::1")):
        behind = cost(acceptor.on_accept, header + ONCE)
        python, c = (a - b for a, b in zip(behind, without, strict=True))
        assert python <= 14
        assert c <= 21


async def test_a_connection_is_logged_for_the_client_however_the_header_arrives(service):
    header = line("192.0.2.7")
    kept = KEPT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    for end in (1, len(header) - 1, len(header)):
        parts = (header[:end], header[end:] + KEPT + kept)
        assert (await service.answer(*parts)).count(b"alpha") == 2
    assert service.clients == ["192.0.2.7"] * 6


async def test_a_connection_that_waits_counts_as_one_of_the_proxy(service):
    client = await service.connect(line("192.0.2.1")[:20])
    await service.wait_for(lambda: service.server.connections)
    (waiting,) = service.server.connections
    assert waiting.client == "127.0.0.1"
    await asyncio.get_running_loop().sock_sendall(client, line("192.0.2.1")[20:])
    await service.wait_for(lambda: waiting.client == "192.0.2.1")
    assert service.server.connections == {waiting}
    client.close()
    await service.wait_for(lambda: not service.server.connections)


@pytest.mark.parametrize("end", ["close", "reset", "nonsense"])
async def test_a_connection_that_ends_before_its_header_leaves_nothing(service, end):
    client = await service.connect(line("192.0.2.1")[:20])
    await service.wait_for(lambda: service.server.connections)
    if end == "nonsense":
        await asyncio.get_running_loop().sock_sendall(client, b"\r\n")
        assert await read_to_end(client) == b""
    elif end == "reset":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    await service.wait_for(lambda: not service.server.connections)
    assert service.log == []


async def test_the_time_of_a_header_ends_whatever_trickles_in(directory, caplog):
    service = Service(directory, keepalive_timeout=3_600)
    await service.server.start([service.listener])
    (acceptor,) = service.server._acceptors
    acceptor.on_accept.__self__._timeout = 0.05
    client = await service.connect()
    loop = asyncio.get_running_loop()
    trickling = iter(block(LOCAL, 0, bytes(4_096)))
    ending = asyncio.create_task(read_to_end(client))
    while not ending.done():
        try:
            await loop.sock_sendall(client, bytes((next(trickling),)))
        except OSError:
            break
        await asyncio.sleep(0.001)
    assert await ending == b""
    assert caplog.messages == ["closed a connection from 127.0.0.1: no PROXY header in time"]
    await service.wait_for(lambda: not service.server.connections)
    await service.server.stop(0)


async def test_a_connection_that_waits_follows_a_reload(directory, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("beta")
    os.utime(tmp_path / "other" / "a.txt", (1, 1))
    async with aserve.Server(directory, **FROM_HERE, deny=("192.0.2.66",)) as server:
        service = Service.__new__(Service)
        service.address = ("127.0.0.1", int(server.url.split(":")[2].strip("/")))
        served, denied = [await service.connect(b"PROXY ") for _ in range(2)]
        running = server._running._current._server
        await service.wait_for(lambda: len(running.connections) == 2)
        await server.areload(tmp_path / "other", deny=("192.0.2.67",), proxy_trust=("127.0.0.9",))
        loop = asyncio.get_running_loop()
        for client, host in ((served, "192.0.2.66"), (denied, "192.0.2.67")):
            await loop.sock_sendall(client, line(host)[6:] + ONCE)
        assert (await read_to_end(served)).endswith(b"\r\n\r\nbeta")
        assert (await read_to_end(denied)).startswith(b"HTTP/1.1 403 ")
        assert await service.answer(line("192.0.2.1") + ONCE) == b""  # it is no longer trusted
        await server.areload(proxy_protocol=False, proxy_trust=())
        assert (await service.answer(ONCE)).endswith(b"\r\n\r\nbeta")


def test_who_is_named_on_a_unix_socket_is_not_believed(directory):
    """He has no address, as the proxy has none there."""
    trust = ("unix", "192.0.2.0/24")
    assert aserve.Settings(directory, proxy_trust=trust).believed_proxies == trust
    behind = aserve.Settings(directory, proxy_trust=trust, proxy_protocol=True)
    assert behind.believed_proxies == ("192.0.2.0/24",)


@pytest.mark.parametrize("model", [DEFAULT, "epoll"])
def test_guesses_of_one_client_do_not_bar_another(directory, model):
    with aserve.Server(directory, model=model, auth=("ann:right",), **FROM_HERE) as server:
        address = ("127.0.0.1", int(server.url.split(":")[2].strip("/")))

        def status(client, password):
            pair = b64encode(f"ann:{password}".encode()).decode()
            login = f"GET /a.txt HTTP/1.0\r\nAuthorization: Basic {pair}\r\n\r\n"
            with socket.create_connection(address, 60) as connection:
                connection.sendall(line(client) + login.encode())
                received = b"".join(iter(lambda: connection.recv(65_536), b""))
            return int(received.split()[1])

        guesses = [status("192.0.2.1", number) for number in range(10)]
        assert guesses == [401] * 10
        assert status("192.0.2.1", "right") == 429
        assert status("192.0.2.2", "right") == 200


async def test_what_is_refused_is_logged_once_a_minute(caplog):
    now = 0.0
    protocol = ProxyProtocol(("192.0.2.0/24",), lambda: now)
    with caplog.at_level(logging.WARNING, "aserve"):
        for number in range(5):
            assert not protocol.accepts(f"198.51.100.{number}")
        assert protocol.accepts("192.0.2.1")
        now = 60.0
        with pytest.raises(ProxyHeaderError):
            protocol.new_reader("192.0.2.1").feed(b"GET / HTTP/1.1\r\n\r\n")
        now = 119.9
        protocol.new_reader("192.0.2.1").time_out()
    assert caplog.messages == [
        "closed a connection from 198.51.100.0: no proxy that is trusted",
        "closed a connection from 192.0.2.1: no PROXY header (4 more since the last line)",
    ]


def test_a_connection_without_a_byte_is_no_fault(caplog):
    """As a health check, or a browser, opens one."""
    protocol = ProxyProtocol(("192.0.2.0/24",))
    with pytest.raises(ProxyHeaderError):
        protocol.new_reader("192.0.2.1").feed(b"")
    assert caplog.messages == []
    reader = protocol.new_reader("192.0.2.1")
    assert reader.feed(b"PRO") is None
    with pytest.raises(ProxyHeaderError):
        reader.feed(b"")
    assert len(caplog.messages) == 1


def test_the_time_of_a_header_is_counted_in_seconds():
    reader = ProxyProtocol(("192.0.2.0/24",)).new_reader("192.0.2.1")
    expired = []
    for byte in b"PROXY":
        assert reader.feed(bytes((byte,))) is None
        expired.append(reader.expired(3))
    assert expired == [False, False, False, True, True]


def test_who_is_trusted():
    trusts = ProxyProtocol(("192.0.2.0/24", "2001:db8::/32", "198.51.100.1")).trusts
    for peer in ("192.0.2.9", "::ffff:192.0.2.9", "2001:db8::9", "198.51.100.1"):
        assert trusts(peer)
    for peer in ("192.0.3.9", "::ffff:192.0.3.9", "2001:db9::9", "198.51.100.2", "-", "", "unix"):
        assert not trusts(peer)
    assert ProxyProtocol(("unix",)).trusts("-")
    assert not ProxyProtocol(("unix",)).trusts("127.0.0.1")


class Peer:
    """A connection as the limiter sees it: that of a proxy is no client's."""

    def __init__(self, peer):
        self.peer, self.is_shared = peer, peer == "proxy"

    def rename(self, peer):
        return lambda: self.__init__(peer)


def test_a_proxy_has_no_share_and_the_clients_that_it_names_have():
    limiter = ConnectionLimiter(ProcessLimits(8, 2, 8, 2))
    waiting = [Peer("proxy") for _ in range(6)]
    assert [limiter.admit(one) for one in waiting] == [Decision.ACCEPT] * 6
    decisions = [limiter.recount(one, one.rename("a")) for one in waiting[:3]]
    assert decisions == [Decision.ACCEPT, Decision.ACCEPT, Decision.REJECT]
    assert limiter.recount(waiting[3], waiting[3].rename("b")) is Decision.ACCEPT
    limiter.remove(waiting[0])
    assert limiter.recount(waiting[4], waiting[4].rename("a")) is Decision.ACCEPT
    assert limiter.recount(waiting[5], waiting[5].rename("a")) is Decision.REJECT
    for one in waiting:
        limiter.remove(one)
    assert limiter.connections == set()
    assert limiter._by_client is None


def test_a_connection_over_the_limit_is_counted_again_once_its_client_is_known():
    limiter = ConnectionLimiter(ProcessLimits(1, 1, 8, 8))
    first, second = Peer("a"), Peer("proxy")
    assert limiter.admit(first) is Decision.ACCEPT
    assert limiter.admit(second) is Decision.REJECT
    limiter.remove(first)
    assert limiter.recount(second, second.rename("b")) is Decision.ACCEPT
    assert second.peer == "b"
