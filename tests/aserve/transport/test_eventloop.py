"""The default model over real sockets: what only the moving of octets can get wrong."""

import asyncio
import errno
import os
import re
import socket
import threading
from contextlib import suppress

import pytest

import aserve
from aserve.cache.response_cache import ResponseCache
from aserve.config.settings import Settings
from aserve.filesystem.directory import Directory
from aserve.handlers.methods import enabled_methods
from aserve.handlers.static_site import StaticSite
from aserve.http1.limits import Limits
from aserve.http1.states import State
from aserve.server.listeners import listen, url
from aserve.transport.eventloop.connection import Connection
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize


@pytest.fixture(params=["true path", "recall"])
async def start(request, folder):
    """Start models, with a hand on their inside; what they remember must make no difference."""
    models = []

    async def start_one(site=None, limits=None, threads=2, queue=8):
        log = []
        settings = Settings(folder, "127.0.0.1", port=0, limits=limits or Limits())
        model = EventLoopServer(
            site or StaticSite(Directory(folder)),
            settings.limits,
            PoolSize(threads, queue),
            lambda *entry: log.append(entry),
            ResponseCache(os.fsencode(folder)) if request.param == "recall" else None,
        )
        ((listener,),) = listen(settings)
        await model.start([listener])
        models.append(model)
        return model, url(listener), log

    yield start_one
    for model in models:
        await model.stop(0)


class GatedDisk(Directory):
    """A disk that answers when the test says so."""

    def __init__(self, root):
        super().__init__(root)
        self.gate = threading.Event()
        self.asked = threading.Semaphore(0)

    def find(self, path, *, wait):
        if not wait:
            raise BlockingIOError
        self.asked.release()
        self.gate.wait()
        return super().find(path, wait=wait)


@pytest.fixture
def gated(folder):
    disk = GatedDisk(folder)
    yield disk
    disk.gate.set()


async def asked(disk, times=1):
    for _ in range(times):
        await asyncio.to_thread(disk.asked.acquire)


async def test_a_large_file_arrives_whole_and_is_logged_once(start, connect, folder):
    _, site, log = await start()
    client = await connect(site)
    status, _, content = await client.get("/large.bin")
    assert (status, content) == (200, (folder / "large.bin").read_bytes())
    await client.get("/a.txt")
    assert [(entry[1].target, *entry[2:4]) for entry in log] == [
        ("/large.bin", 200, 4_194_304),
        ("/a.txt", 200, 5),
    ]


async def test_a_large_file_in_parts(start, connect, folder):
    _, site, _ = await start()
    client = await connect(site)
    status, fields, content = await client.get("/large.bin", Range="bytes=5-200000,300000-499999")
    boundary = fields["content-type"].partition("boundary=")[2].encode()
    parts = [part.partition(b"\r\n\r\n")[2] for part in content.split(b"\r\n--" + boundary)]
    octets = (folder / "large.bin").read_bytes()
    assert status == 206
    assert parts[0] == octets[5:200001]
    assert parts[1] == octets[300000:500000]


async def test_pipelined_requests_are_answered_in_order(start, connect):
    _, site, _ = await start()
    client = await connect(site)
    targets = ["/a.txt", "/large.bin", "/none", "/sub/", "/a.txt"] * 5
    await client.send(
        "".join(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n" for target in targets).encode()
    )
    replies = [await client.reply() for _ in targets]
    assert [status for status, _, _ in replies] == [200, 200, 404, 200, 200] * 5
    assert {len(content) for _, _, content in replies[1::5]} == {4_194_304}


async def at_rest(model):
    """Wait until the pool has done what there was to do."""
    pool = model.thread_pool
    await _until(lambda: pool._free_slots == pool._size.threads + pool._size.queue)


async def test_pipelined_requests_are_logged_and_remembered_one_by_one(start, connect):
    model, site, log = await start()
    client = await connect(site)
    targets = ["/a.txt", "/", "/a.txt", "/none", "/sub/"] * 8
    for target in targets[:5] * 2:
        await client.get(target)
        await at_rest(model)
    log.clear()
    await client.send(
        "".join(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n" for target in targets).encode()
    )
    replies = [await client.reply() for _ in targets]
    assert [entry[1].target for entry in log] == targets
    assert [entry[3] for entry in log] == [len(content) for _, _, content in replies]
    assert (
        len({(target, content) for target, (_, _, content) in zip(targets, replies, strict=True)})
        == 4
    )
    if model.cache:
        assert len(model.cache._by_head) == 3


async def test_a_client_that_does_not_read_holds_one_block_and_not_the_file(start, connect, folder):
    os.truncate(folder / "large.bin", 1 << 30)
    model, site, _ = await start()
    client = await connect(site)
    client.writer.transport.pause_reading()
    await client.send(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
    (connection,) = await _until(lambda: stuck(model))
    assert connection._transport.get_write_buffer_size() < 1 << 19


def stuck(model):
    """Return the connections whose client does not take what is sent."""
    return [
        c
        for c in model.connections
        if c._write_resumed or (c._file_sender and c._file_sender.is_blocked)
    ]


async def _until(look):
    """Look again after each turn of the loop until there is something to see."""
    while not (found := look()):  # noqa: ASYNC110 - what is looked at tells nobody
        await asyncio.sleep(0)
    return found


async def test_a_client_that_asks_and_never_reads_is_not_answered_for_ever(start, connect, folder):
    (folder / "a.txt").write_bytes(bytes(60_000))
    model, site, log = await start()
    client = await connect(site)
    client.writer.transport.pause_reading()
    client.writer.write(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n" * 100_000)
    (connection,) = await _until(lambda: stuck(model))
    answered = len(log)
    assert connection._transport.get_write_buffer_size() < 1 << 20
    assert connection._http.buffered < 1 << 20
    assert answered < 100_000


async def test_more_requests_than_threads_and_queue_hold_are_told_to_come_back(
    start, connect, gated
):
    _, site, _ = await start(StaticSite(gated), threads=1, queue=1)
    working, waiting, refused = [await connect(site) for _ in range(3)]
    await working.send(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n")
    await asked(gated)
    await waiting.send(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n")
    # The waiting one shows nothing from outside: ask until the queue is full.
    status, fields, _ = await refused.get("/a.txt")
    assert status == 503
    assert fields["retry-after"] == "1"
    gated.gate.set()
    assert (await working.reply())[0] == 200
    assert (await waiting.reply())[0] == 200
    assert (await refused.get("/a.txt"))[0] == 200


async def test_a_file_that_shrinks_while_it_is_sent_ends_the_connection(
    start, connect, folder, caplog
):
    os.truncate(folder / "large.bin", 1 << 28)
    model, site, log = await start()
    client = await connect(site)
    client.writer.transport.pause_reading()
    await client.send(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
    await _until(lambda: stuck(model))
    os.truncate(folder / "large.bin", 1 << 20)
    client.writer.transport.resume_reading()
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await client.reply()
    await _until(lambda: log)
    assert log[0][2] == 200
    assert log[0][3] < 1 << 28
    assert caplog.messages[0].startswith("/large.bin: reply cut short")


async def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(start, connect, folder):
    os.truncate(folder / "large.bin", 1 << 30)
    model, site, log = await start()
    before = len(os.listdir("/proc/self/fd")) + 1  # libuv keeps one in reserve from the first on
    client = await connect(site)
    await client.send(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
    await client.reader.readexactly(100_000)
    client.close()
    await _until(lambda: log and not model.connections)
    assert log[0][3] < 1 << 30
    await _until(lambda: len(os.listdir("/proc/self/fd")) <= before)


async def test_a_client_that_leaves_while_the_disk_works_is_forgotten(start, connect, gated):
    model, site, log = await start(StaticSite(gated))
    client = await connect(site)
    await client.send(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n")
    await asked(gated)
    client.close()
    gated.gate.set()
    await _until(lambda: not model.connections)
    other = await connect(site)
    assert (await other.get("/a.txt"))[0] == 200
    assert [entry[2] for entry in log] == [200, 200]


async def test_what_was_asked_before_the_clients_end_is_answered(start, connect):
    _, site, _ = await start()
    client = await connect(site)
    await client.send(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    client.writer.write_eof()
    assert (await client.rest()).count(b"\r\n\r\nalpha") == 3


async def test_garbage_is_answered_once_logged_once_and_forgotten(start, connect):
    _, site, log = await start()
    client = await connect(site)
    await client.send(b"\x16\x03\x01 garbage\r\n\r\n")
    assert (await client.rest()).startswith(b"HTTP/1.1 400 ")
    other = await connect(site)
    assert (await other.get("/a.txt"))[0] == 200
    assert [entry[2] for entry in log] == [400, 200]


async def test_an_error_reaches_a_client_that_is_still_sending(start, connect):
    _, site, _ = await start(limits=Limits(max_body=1_000))
    client = await connect(site)
    await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n")
    await client.send(b"x" * 1_000_000)
    status, fields, _ = await client.reply()
    assert (status, fields["connection"]) == (413, "close")
    assert await client.rest() == b""


async def test_time_limits(start, connect):
    model, site, log = await start(
        limits=Limits(
            keepalive_timeout=2, header_timeout=1, transfer_timeout=1, lingering_timeout=1
        )
    )
    idle, head, content, lingering = [await connect(site) for _ in range(4)]
    await head.send(b"GET / HT")
    await content.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
    await lingering.send(b"garbage\r\n\r\n")
    assert (await lingering.reply())[0] == 400
    await _until(lambda: len(model.connections) == 4)
    states = (State.IDLE, State.HEAD, State.BODY, State.LINGERING)
    await _until(lambda: {c._http.state for c in model.connections} == set(states))
    while model.connections:  # time is what the sweep says it is
        for connection in list(model.connections):
            connection.tick()
        await asyncio.sleep(0)
    assert await idle.rest() == b""
    assert (await head.rest()).startswith(b"HTTP/1.1 408 ")
    assert (await content.rest()).startswith(b"HTTP/1.1 408 ")
    assert sorted(entry[2] for entry in log) == [400, 408, 408]


async def test_stopping_lets_replies_end_and_closes_idle_connections(start, connect, gated):
    model, site, _ = await start(StaticSite(gated))
    idle, busy = await connect(site), await connect(site)
    await idle.send(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await idle.reply())[0] == 204
    await busy.send(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n")
    await asked(gated)
    stopping = asyncio.create_task(model.stop(60))
    assert await idle.rest() == b""
    with pytest.raises(ConnectionRefusedError):
        await connect(site)
    gated.gate.set()
    status, fields, content = await busy.reply()
    assert (status, fields["connection"], content) == (200, "close", b"alpha")
    await stopping


async def test_stopping_ends_a_connection_behind_the_reply_under_way(start, connect, folder):
    os.truncate(folder / "large.bin", 1 << 26)
    model, site, _ = await start()
    client = await connect(site)
    await client.send(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await client.reader.readuntil(b"\r\n\r\n")
    stopping = asyncio.create_task(model.stop(600))
    assert len(await client.rest()) == 1 << 26
    assert b"\r\nConnection: close" not in head  # it began before anybody knew
    await stopping


async def test_stopping_does_not_wait_beyond_its_grace(start, connect, gated):
    model, site, _ = await start(StaticSite(gated))
    client = await connect(site)
    await client.send(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n")
    await asked(gated)
    await model.stop(0)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await client.reply()


def test_a_server_beside_a_program_without_a_loop(folder):
    with aserve.Server(folder) as server:
        port = int(server.url.rsplit(":", 1)[1].rstrip("/"))
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET /a.txt HTTP/1.0\r\n\r\n")
            assert b"".join(iter(lambda: client.recv(65_536), b"")).endswith(b"\r\n\r\nalpha")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


async def test_a_server_in_a_program_with_a_loop(folder, connect):
    async with aserve.Server(folder) as server:
        client = await connect(server.url)
        assert (await client.get("/a.txt"))[2] == b"alpha"


async def test_one_connection_too_many_is_told_so_and_the_others_live(start, connect):
    _, site, log = await start(limits=Limits(max_connections=2, max_connections_per_ip=2))
    first, second = await connect(site), await connect(site)
    assert (await first.get("/a.txt"))[0] == 200
    assert (await second.get("/a.txt"))[0] == 200
    third = await connect(site)
    status, fields, _ = await third.reply()
    assert (status, fields["connection"]) == (503, "close")
    third.close()
    second.close()
    assert (await first.get("/a.txt"))[0] == 200
    await _until(lambda: log[-1][2] == 200)


async def test_places_are_given_back(start, connect):
    model, site, _ = await start(limits=Limits(max_connections=1))
    for _ in range(5):
        client = await connect(site)
        assert (await client.get("/a.txt"))[0] == 200
        client.close()
        await _until(lambda: not model.connections)
    assert not model._limiter._rejected
    assert not model._limiter._by_client


@pytest.fixture
async def echo():
    """Serve a place that sends back what it gets, and its end after that."""

    talks = []

    async def reflect(reader, writer):
        talks.append((asyncio.current_task(), writer.transport))
        with suppress(ConnectionError, RuntimeError):  # uvloop raises the latter on a closed one
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
            writer.write(b"bye")
            writer.close()

    server = await asyncio.start_server(reflect, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    for task, transport in talks:
        transport.abort()
        await task


def tunnelling(folder, *places):
    return StaticSite(Directory(folder), enabled_methods(traces=False, tunnels=places))


async def test_a_tunnel_carries_both_ways_and_each_direction_ends_alone(
    start, connect, folder, echo
):
    model, site, log = await start(tunnelling(folder, echo))
    client = await connect(site)
    await client.send(f"CONNECT {echo} HTTP/1.1\r\nHost: {echo}\r\n\r\nearly".encode())
    assert (await client.reply())[0] == 200
    octets = os.urandom(4 << 20)
    await asyncio.gather(client.send(octets), _expect(client, b"early" + octets))
    client.writer.write_eof()
    assert await client.rest() == b"bye"
    await _until(lambda: not model.connections)
    assert [entry[2] for entry in log] == [200]


async def _expect(client, octets):
    assert await client.reader.readexactly(len(octets)) == octets


async def test_a_tunnel_holds_back_who_sends_faster_than_is_read(start, connect, folder, echo):
    model, site, _ = await start(tunnelling(folder, echo))
    client = await connect(site)
    await client.send(f"CONNECT {echo} HTTP/1.1\r\nHost: {echo}\r\n\r\n".encode())
    await client.reply()
    client.writer.transport.pause_reading()
    client.writer.write(bytes(64 << 20))
    (connection,) = model.connections
    near, far = connection._tunnel.client_end.transport, connection._tunnel.target_end.transport
    await _until(lambda: near.get_write_buffer_size() and not near.is_reading())
    held = near.get_write_buffer_size() + far.get_write_buffer_size()
    assert held < 4 << 20


async def test_a_tunnel_to_elsewhere(start, connect, folder, echo):
    _, site, _ = await start(tunnelling(folder, echo))
    client = await connect(site)
    await client.send(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await client.reply())[0] == 403


async def test_a_tunnel_to_nobody(start, connect, folder):
    _, site, _ = await start(tunnelling(folder, "127.0.0.1:1"))
    client = await connect(site)
    await client.send(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await client.reply())[0] == 502
    assert (await client.get("/a.txt"))[0] == 200


async def test_an_idle_tunnel_ends(start, connect, folder, echo):
    model, site, _ = await start(tunnelling(folder, echo), limits=Limits(tunnel_timeout=2))
    client = await connect(site)
    await client.send(f"CONNECT {echo} HTTP/1.1\r\nHost: {echo}\r\n\r\n".encode())
    await client.reply()
    (connection,) = model.connections
    connection.tick()
    await client.send(b"x")
    assert await client.reader.readexactly(1) == b"x"
    connection.tick()
    assert model.connections
    connection.tick()
    with suppress(ConnectionResetError):
        assert await client.rest() == b""
    await _until(lambda: not model.connections)


@pytest.mark.parametrize("size", [60_000, 300_000])
async def test_a_tunnel_takes_what_was_sent_before_it_stood(start, connect, folder, echo, size):
    model, site, _ = await start(tunnelling(folder, echo))
    client = await connect(site)
    octets = os.urandom(size)
    await client.send(f"CONNECT {echo} HTTP/1.1\r\nHost: {echo}\r\n\r\n".encode() + octets)
    client.writer.write_eof()
    assert (await client.reply())[0] == 200
    assert await client.rest() == octets + b"bye"
    await _until(lambda: not model.connections)


async def test_a_far_side_that_speaks_first_is_heard(start, connect, folder):
    async def greet(_, writer):
        writer.write(b"hello")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        model, site, _ = await start(tunnelling(folder, place))
        for _ in range(20):
            client = await connect(site)
            await client.send(f"CONNECT {place} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert (await client.reply())[0] == 200
            assert await client.reader.readexactly(5) == b"hello"
            client.close()
        await _until(lambda: not model.connections)


async def test_a_tunnel_ends_with_a_client_that_is_cut_off(start, connect, folder, echo):
    model, site, _ = await start(tunnelling(folder, echo), limits=Limits(tunnel_timeout=1))
    client = await connect(site)
    await client.send(f"CONNECT {echo} HTTP/1.1\r\nHost: {echo}\r\n\r\n".encode())
    await client.reply()
    client.writer.transport.pause_reading()
    client.writer.write(bytes(8 << 20))
    (connection,) = model.connections
    await _until(connection._tunnel.client_end.transport.get_write_buffer_size)
    client.close()
    connection.tick()
    await _until(lambda: not model.connections)


async def test_a_refused_client_that_sends_a_known_request_is_not_served(start, connect, caplog):
    _, site, _ = await start(limits=Limits(max_connections=1))
    first = await connect(site)
    for _ in range(6):
        assert (await first.get("/a.txt"))[0] == 200
    second = await connect(site)
    await second.send(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await second.reply())[0] == 503
    assert await second.rest() == b""
    assert caplog.messages == []


async def test_a_remembered_last_reply_is_the_last(start, connect, gated):
    gated.gate.set()
    model, site, _ = await start(StaticSite(gated))
    close = b"GET /a.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    for _ in range(4):
        client = await connect(site)
        await client.send(close)
        assert (await client.reply())[0] == 200
    client = await connect(site)
    await client.send(b"GET /a.txt HTTP/1.1\r\n")
    await _until(lambda: [c for c in model.connections if c._http.state is State.HEAD])
    stopping = asyncio.create_task(model.stop(60))
    await asyncio.sleep(0)
    await client.send(b"Host: x\r\n\r\n" * 1)
    assert (await client.reply())[1]["connection"] == "close"
    assert await client.rest() == b""
    await stopping


async def test_a_head_larger_than_the_pause_is_read(start, connect):
    _, site, _ = await start(limits=Limits(max_header_size=400_000))
    client = await connect(site)
    await client.send(b"GET /a.txt HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200_000 + b"\r\n\r\n")
    assert (await client.reply())[0] == 200


@pytest.mark.parametrize(
    "head",
    [
        "GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n",
        "HEAD /a.txt HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nHost: x\r\nRange: bytes=1-2\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /a.txt HTTP/1.0\r\n\r\n",
        "GET /a.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "GET /sub/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /none HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_cold_and_warm_the_reply_is_the_same(start, connect, folder, head):
    model, site, log = await start()
    replies = []
    for _ in range(6):
        client = await connect(site)
        await client.send(head.encode())
        client.writer.write_eof()
        reply = await client.rest()
        replies.append(re.sub(rb"\r\nDate: [^\r]*", b"", reply))
        await at_rest(model)
    assert len(set(replies)) == 1
    assert len({(entry[1].head, *entry[2:4]) for entry in log}) == 1
    assert len(log) == 6
    if model.cache and "none" not in head:
        assert len(model.cache._by_head) == 1


async def test_a_reset_behind_the_last_reply_is_no_fault(start, connect, caplog, monkeypatch):
    _, site, _ = await start()

    class Gone:
        """A transport that was reset a moment ago, which asyncio finds out in write_eof."""

        def __init__(self, transport):
            self._transport = transport

        def write_eof(self):
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

        def __getattr__(self, name):
            return getattr(self._transport, name)

    made = Connection.connection_made
    monkeypatch.setattr(Connection, "connection_made", lambda one, wire: made(one, Gone(wire)))
    client = await connect(site)
    await client.send(b"garbage\r\n\r\n")
    with suppress(ConnectionResetError):
        await client.rest()
    assert caplog.messages == []
