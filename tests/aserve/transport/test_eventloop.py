"""The default model over real sockets: what can go wrong only when bytes are really sent."""

import asyncio
import errno
import os
import re
import socket
import threading
from contextlib import suppress
from functools import partial
from unittest.mock import Mock

import pytest

import aserve
from aserve.cache.response_cache import ResponseCache
from aserve.config.settings import Settings
from aserve.filesystem.directory import Directory
from aserve.handlers.methods import Connect
from aserve.http1.limits import Limits
from aserve.http1.states import State
from aserve.policies.site import Site
from aserve.server.listeners import listen, url
from aserve.transport.eventloop.connection import Connection
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize
from aserve.transport.eventloop.tunnel import Tunnel


@pytest.fixture(params=["no cache", "cache"])
async def start(request, directory):
    """Start servers, with and without a cache, which must make no difference."""
    servers = []

    async def start_server(site=None, limits=None, threads=2, queue=8):
        log = []
        settings = Settings(directory, "127.0.0.1", port=0, limits=limits or Limits())
        server = EventLoopServer(
            site or Site.of_files(Directory(directory)),
            settings.limits,
            PoolSize(threads, queue),
            lambda *entry: log.append(entry),
            ResponseCache() if request.param == "cache" else None,
        )
        ((listener,),) = listen(settings)
        await server.start([listener])
        servers.append(server)
        return server, url(listener), log

    yield start_server
    for server in servers:
        await server.stop(0)


class GatedDirectory(Directory):
    """A directory whose look-ups wait for the test."""

    def __init__(self, root):
        super().__init__(root)
        self.gate = threading.Event()
        self.lookups = threading.Semaphore(0)

    def find(self, path, *, wait):
        if not wait:
            raise BlockingIOError
        self.lookups.release()
        self.gate.wait()
        return super().find(path, wait=wait)


@pytest.fixture
def gated(directory):
    gated_directory = GatedDirectory(directory)
    yield gated_directory
    gated_directory.gate.set()


async def wait_lookup(gated):
    await asyncio.to_thread(gated.lookups.acquire)


async def test_a_large_file_arrives_whole_and_is_logged_once(start, connect, large_file):
    _, address, log = await start()
    client = await connect(address)
    status, _, body = await client.get("/large.bin")
    assert (status, body) == (200, large_file.read_bytes())
    await client.get("/a.txt")
    assert [(entry[1].target, *entry[2:4]) for entry in log] == [
        ("/large.bin", 200, 4_194_304),
        ("/a.txt", 200, 5),
    ]


async def test_a_large_file_in_parts(start, connect, large_file):
    _, address, _ = await start()
    client = await connect(address)
    status, headers, body = await client.get("/large.bin", Range="bytes=5-200000,300000-499999")
    boundary = headers["content-type"].partition("boundary=")[2].encode()
    parts = [part.partition(b"\r\n\r\n")[2] for part in body.split(b"\r\n--" + boundary)]
    content = large_file.read_bytes()
    assert status == 206
    assert parts[0] == content[5:200001]
    assert parts[1] == content[300000:500000]


async def test_pipelined_requests_are_answered_in_order(start, connect, large_file):
    _, address, _ = await start()
    client = await connect(address)
    targets = ["/a.txt", "/large.bin", "/none", "/sub/", "/a.txt"] * 5
    await client.send(
        "".join(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n" for target in targets).encode()
    )
    responses = [await client.read_response() for _ in targets]
    assert [status for status, _, _ in responses] == [200, 200, 404, 200, 200] * 5
    assert {len(body) for _, _, body in responses[1::5]} == {4_194_304}


async def wait_idle(server):
    """Wait until the thread pool has no jobs."""
    pool = server.thread_pool
    await _wait_until(lambda: pool._free_slots == pool._size.threads + pool._size.queue)


async def test_pipelined_requests_are_logged_and_cached_one_by_one(start, connect):
    server, address, log = await start()
    client = await connect(address)
    targets = ["/a.txt", "/", "/a.txt", "/none", "/sub/"] * 8
    for target in targets[:5] * 2:
        await client.get(target)
        await wait_idle(server)
    log.clear()
    await client.send(
        "".join(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n" for target in targets).encode()
    )
    responses = [await client.read_response() for _ in targets]
    assert [entry[1].target for entry in log] == targets
    assert [entry[3] for entry in log] == [len(body) for _, _, body in responses]
    assert (
        len({(target, body) for target, (_, _, body) in zip(targets, responses, strict=True)}) == 4
    )
    if server.cache:
        assert len(server.cache._by_head) == 3


async def test_a_client_that_does_not_read_holds_one_block_and_not_the_file(
    start, connect, large_file
):
    os.truncate(large_file, 1 << 30)
    server, address, _ = await start()
    client = await connect(address)
    client.writer.transport.pause_reading()
    await client.send(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
    (connection,) = await _wait_until(lambda: blocked_connections(server))
    assert connection._transport.get_write_buffer_size() < 1 << 19


def blocked_connections(server):
    """Return the connections whose client does not read."""
    return [
        c for c in server.connections if c._write_resumed or (c._sender and c._sender.is_blocked)
    ]


async def _wait_until(condition):
    """Call condition again and again until its result is true; return the result.

    Not in each turn of the loop: a client that sends nothing is accepted after a second.
    """
    while not (result := condition()):  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.001)
    return result


async def test_a_client_that_never_reads_is_not_answered_forever(start, connect, directory):
    (directory / "a.txt").write_bytes(bytes(60_000))
    server, address, log = await start()
    client = await connect(address)
    client.writer.transport.pause_reading()
    client.writer.write(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n" * 100_000)
    (connection,) = await _wait_until(lambda: blocked_connections(server))
    answered = len(log)
    assert connection._transport.get_write_buffer_size() < 1 << 20
    assert connection._http.buffered < 1 << 20
    assert answered < 100_000


async def test_more_requests_than_threads_and_queue_hold_get_503(start, connect, gated):
    _, address, _ = await start(Site.of_files(gated), threads=1, queue=1)
    working, waiting, rejected = [await connect(address) for _ in range(3)]
    await working.send(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n")
    await wait_lookup(gated)
    await waiting.send(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n")
    # The queued request cannot be seen from outside, but the queue is full now.
    status, headers, _ = await rejected.get("/a.txt")
    assert status == 503
    assert headers["retry-after"] == "1"
    gated.gate.set()
    assert (await working.read_response())[0] == 200
    assert (await waiting.read_response())[0] == 200
    assert (await rejected.get("/a.txt"))[0] == 200


async def test_a_file_that_shrinks_while_it_is_sent_ends_the_connection(
    start, connect, large_file, caplog
):
    os.truncate(large_file, 1 << 28)
    server, address, log = await start()
    client = await connect(address)
    client.writer.transport.pause_reading()
    await client.send(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
    await _wait_until(lambda: blocked_connections(server))
    os.truncate(large_file, 1 << 20)
    client.writer.transport.resume_reading()
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await client.read_response()
    await _wait_until(lambda: log)
    assert log[0][2] == 200
    assert log[0][3] < 1 << 28
    assert caplog.messages[0].startswith("/large.bin: response truncated")


async def test_a_client_that_disconnects_during_a_response_leaves_nothing_open(
    start, connect, large_file
):
    os.truncate(large_file, 1 << 30)
    server, address, log = await start()
    before = len(os.listdir("/proc/self/fd")) + 1  # libuv reserves one from the first connection on
    client = await connect(address)
    await client.send(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
    await client.reader.readexactly(100_000)
    client.close()
    await _wait_until(lambda: log and not server.connections)
    assert log[0][3] < 1 << 30
    await _wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before)


async def test_a_client_that_disconnects_during_a_lookup_is_removed(start, connect, gated):
    server, address, log = await start(Site.of_files(gated))
    client = await connect(address)
    await client.send(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n")
    await wait_lookup(gated)
    client.close()
    gated.gate.set()
    await _wait_until(lambda: not server.connections)
    other = await connect(address)
    assert (await other.get("/a.txt"))[0] == 200
    assert [entry[2] for entry in log] == [200, 200]


async def test_requests_before_the_clients_end_of_file_are_answered(start, connect):
    _, address, _ = await start()
    client = await connect(address)
    await client.send(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    client.writer.write_eof()
    assert (await client.read_all()).count(b"\r\n\r\nalpha") == 3


async def test_garbage_is_answered_once_and_logged_once(start, connect):
    _, address, log = await start()
    client = await connect(address)
    await client.send(b"\x16\x03\x01 garbage\r\n\r\n")
    assert (await client.read_all()).startswith(b"HTTP/1.1 400 ")
    other = await connect(address)
    assert (await other.get("/a.txt"))[0] == 200
    assert [entry[2] for entry in log] == [400, 200]


async def test_an_error_reaches_a_client_that_is_still_sending(start, connect):
    _, address, _ = await start(limits=Limits(max_body=1_000))
    client = await connect(address)
    await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n")
    await client.send(b"x" * 1_000_000)
    status, headers, _ = await client.read_response()
    assert (status, headers["connection"]) == (413, "close")
    assert await client.read_all() == b""


async def test_time_limits(start, connect):
    server, address, log = await start(
        limits=Limits(
            keepalive_timeout=2, header_timeout=1, transfer_timeout=1, lingering_timeout=1
        )
    )
    idle, head, body, lingering = [await connect(address) for _ in range(4)]
    await head.send(b"GET / HT")
    await body.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
    await lingering.send(b"garbage\r\n\r\n")
    assert (await lingering.read_response())[0] == 400
    await _wait_until(lambda: len(server.connections) == 4)
    states = (State.IDLE, State.HEAD, State.BODY, State.LINGERING)
    await _wait_until(lambda: {c._http.state for c in server.connections} == set(states))
    while server.connections:  # only ticks make time pass
        for connection in list(server.connections):
            connection.tick()
        await asyncio.sleep(0.01)
    assert await idle.read_all() == b""
    assert (await head.read_all()).startswith(b"HTTP/1.1 408 ")
    assert (await body.read_all()).startswith(b"HTTP/1.1 408 ")
    assert sorted(entry[2] for entry in log) == [400, 408, 408]


async def test_stopping_completes_responses_and_closes_idle_connections(start, connect, gated):
    server, address, _ = await start(Site.of_files(gated))
    idle, busy = await connect(address), await connect(address)
    await idle.send(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await idle.read_response())[0] == 204
    await busy.send(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n")
    await wait_lookup(gated)
    stopping = asyncio.create_task(server.stop(60))
    assert await idle.read_all() == b""
    with pytest.raises(ConnectionRefusedError):
        await connect(address)
    gated.gate.set()
    status, headers, body = await busy.read_response()
    assert (status, headers["connection"], body) == (200, "close", b"alpha")
    await stopping


async def test_stopping_closes_a_connection_after_its_open_response(start, connect, large_file):
    os.truncate(large_file, 1 << 24)
    server, address, _ = await start()
    client = await connect(address)
    await client.send(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await client.reader.readuntil(b"\r\n\r\n")
    stopping = asyncio.create_task(server.stop(600))
    assert len(await client.read_all()) == 1 << 24
    assert b"\r\nConnection: close" not in head  # it began before the server was stopped
    await stopping


async def test_stopping_does_not_wait_longer_than_grace(start, connect, gated):
    server, address, _ = await start(Site.of_files(gated))
    client = await connect(address)
    await client.send(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n")
    await wait_lookup(gated)
    await server.stop(0)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await client.read_response()


def test_a_server_in_a_program_without_a_loop(directory):
    with aserve.Server(directory) as server:
        port = int(server.url.rsplit(":", 1)[1].rstrip("/"))
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET /a.txt HTTP/1.0\r\n\r\n")
            assert b"".join(iter(lambda: client.recv(65_536), b"")).endswith(b"\r\n\r\nalpha")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


async def test_a_server_in_a_program_with_a_loop(directory, connect):
    async with aserve.Server(directory) as server:
        client = await connect(server.url)
        assert (await client.get("/a.txt"))[2] == b"alpha"


async def test_one_connection_too_many_gets_503_and_the_others_stay(start, connect):
    _, address, log = await start(limits=Limits(max_connections=2, max_connections_per_ip=2))
    first, second = await connect(address), await connect(address)
    assert (await first.get("/a.txt"))[0] == 200
    assert (await second.get("/a.txt"))[0] == 200
    third = await connect(address)
    status, headers, _ = await third.read_response()
    assert (status, headers["connection"]) == (503, "close")
    third.close()
    second.close()
    assert (await first.get("/a.txt"))[0] == 200
    await _wait_until(lambda: log[-1][2] == 200)


async def test_connection_slots_are_released(start, connect):
    server, address, _ = await start(limits=Limits(max_connections=1))
    for _ in range(5):
        client = await connect(address)
        assert (await client.get("/a.txt"))[0] == 200
        client.close()
        await _wait_until(lambda: not server.connections)
    assert not server.limiter._rejected
    assert not server.limiter._by_client


@pytest.fixture
async def echo():
    """Run a server that echoes what it receives, and the end of file after that."""

    connections = []

    async def serve_echo(reader, writer):
        connections.append((asyncio.current_task(), writer.transport))
        with suppress(ConnectionError, RuntimeError):  # uvloop raises the latter on a closed one
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
            writer.write(b"bye")
            writer.close()

    server = await asyncio.start_server(serve_echo, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    for task, transport in connections:
        transport.abort()
        await task


def site_with_tunnels(directory, *targets, idle_timeout=60):
    connect = Connect(targets, partial(Tunnel, idle_timeout=idle_timeout))
    return Site.of_files(Directory(directory), connect=connect)


async def test_a_tunnel_carries_both_ways_and_each_direction_ends_alone(
    start, connect, directory, echo
):
    server, address, log = await start(site_with_tunnels(directory, echo))
    client = await connect(address)
    await client.send(f"CONNECT {echo} HTTP/1.1\r\nHost: {echo}\r\n\r\nearly".encode())
    assert (await client.read_response())[0] == 200
    data = os.urandom(4 << 20)
    await asyncio.gather(client.send(data), _expect(client, b"early" + data))
    client.writer.write_eof()
    assert await client.read_all() == b"bye"
    await _wait_until(lambda: not server.connections)
    assert [entry[2] for entry in log] == [200]


async def _expect(client, data):
    assert await client.reader.readexactly(len(data)) == data


async def test_a_tunnel_slows_down_a_fast_sender(start, connect, directory, echo):
    server, address, _ = await start(site_with_tunnels(directory, echo))
    client = await connect(address)
    await client.send(f"CONNECT {echo} HTTP/1.1\r\nHost: {echo}\r\n\r\n".encode())
    await client.read_response()
    client.writer.transport.pause_reading()
    client.writer.write(bytes(64 << 20))
    (connection,) = server.connections
    client_end, target_end = (
        connection._takeover.client_end.transport,
        connection._takeover.target_end.transport,
    )
    await _wait_until(lambda: client_end.get_write_buffer_size() and not client_end.is_reading())
    buffered = client_end.get_write_buffer_size() + target_end.get_write_buffer_size()
    assert buffered < 4 << 20


async def test_a_tunnel_to_a_target_that_is_not_allowed(start, connect, directory, echo):
    _, address, _ = await start(site_with_tunnels(directory, echo))
    client = await connect(address)
    await client.send(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await client.read_response())[0] == 403


async def test_a_tunnel_to_a_target_that_does_not_listen(start, connect, directory):
    _, address, _ = await start(site_with_tunnels(directory, "127.0.0.1:1"))
    client = await connect(address)
    early = b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n"
    await client.send(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\n\r\n" + early)
    status, headers, _ = await client.read_response()
    assert (status, headers["connection"]) == (502, "close")
    await client.send(early)
    assert await client.read_all() == b""  # they were for the tunnel, and are no requests


async def test_an_idle_tunnel_is_closed(start, connect, directory, echo):
    server, address, _ = await start(site_with_tunnels(directory, echo, idle_timeout=2))
    client = await connect(address)
    await client.send(f"CONNECT {echo} HTTP/1.1\r\nHost: {echo}\r\n\r\n".encode())
    await client.read_response()
    (connection,) = server.connections
    connection.tick()
    await client.send(b"x")
    assert await client.reader.readexactly(1) == b"x"
    connection.tick()
    assert server.connections
    connection.tick()
    with suppress(ConnectionResetError):
        assert await client.read_all() == b""
    await _wait_until(lambda: not server.connections)


@pytest.mark.parametrize("size", [60_000, 300_000])
async def test_a_tunnel_forwards_data_that_was_sent_before_it_was_open(
    start, connect, directory, echo, size
):
    server, address, _ = await start(site_with_tunnels(directory, echo))
    client = await connect(address)
    data = os.urandom(size)
    await client.send(f"CONNECT {echo} HTTP/1.1\r\nHost: {echo}\r\n\r\n".encode() + data)
    client.writer.write_eof()
    assert (await client.read_response())[0] == 200
    assert await client.read_all() == data + b"bye"
    await _wait_until(lambda: not server.connections)


async def test_a_target_that_sends_first_is_forwarded(start, connect, directory):
    async def greet(_, writer):
        writer.write(b"hello")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as greeter:
        target = f"127.0.0.1:{greeter.sockets[0].getsockname()[1]}"
        server, address, _ = await start(site_with_tunnels(directory, target))
        for _ in range(20):
            client = await connect(address)
            await client.send(f"CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert (await client.read_response())[0] == 200
            assert await client.reader.readexactly(5) == b"hello"
            client.close()
        await _wait_until(lambda: not server.connections)


async def test_a_tunnel_closes_with_its_client(start, connect, directory, echo):
    server, address, _ = await start(site_with_tunnels(directory, echo, idle_timeout=1))
    client = await connect(address)
    await client.send(f"CONNECT {echo} HTTP/1.1\r\nHost: {echo}\r\n\r\n".encode())
    await client.read_response()
    client.writer.transport.pause_reading()
    client.writer.write(bytes(8 << 20))
    (connection,) = server.connections
    await _wait_until(connection._takeover.client_end.transport.get_write_buffer_size)
    client.close()
    connection.tick()
    await _wait_until(lambda: not server.connections)


async def test_a_rejected_client_that_sends_a_cached_request_is_not_served(start, connect, caplog):
    _, address, _ = await start(limits=Limits(max_connections=1))
    first = await connect(address)
    for _ in range(6):
        assert (await first.get("/a.txt"))[0] == 200
    second = await connect(address)
    await second.send(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await second.read_response())[0] == 503
    assert await second.read_all() == b""
    assert caplog.messages == []


async def test_no_request_is_served_after_a_cached_response_that_closes(start, connect, gated):
    gated.gate.set()
    server, address, _ = await start(Site.of_files(gated))
    request = b"GET /a.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    for _ in range(4):
        client = await connect(address)
        await client.send(request)
        assert (await client.read_response())[0] == 200
    client = await connect(address)
    await client.send(b"GET /a.txt HTTP/1.1\r\n")
    await _wait_until(lambda: [c for c in server.connections if c._http.state is State.HEAD])
    stopping = asyncio.create_task(server.stop(60))
    await asyncio.sleep(0)
    await client.send(b"Host: x\r\n\r\n" * 1)
    assert (await client.read_response())[1]["connection"] == "close"
    assert await client.read_all() == b""
    await stopping


async def test_a_header_larger_than_the_read_buffer_limit_is_read(start, connect):
    _, address, _ = await start(limits=Limits(max_header_size=400_000))
    client = await connect(address)
    await client.send(b"GET /a.txt HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200_000 + b"\r\n\r\n")
    assert (await client.read_response())[0] == 200


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
async def test_the_response_is_the_same_cold_and_warm(start, connect, directory, head):
    server, address, log = await start()
    responses = []
    for _ in range(6):
        client = await connect(address)
        await client.send(head.encode())
        client.writer.write_eof()
        response = await client.read_all()
        responses.append(re.sub(rb"\r\nDate: [^\r]*", b"", response))
        await wait_idle(server)
    assert len(set(responses)) == 1
    assert len({(entry[1].head, *entry[2:4]) for entry in log}) == 1
    assert len(log) == 6
    if server.cache and "none" not in head:
        assert len(server.cache._by_head) == 1


class WrappedTransport:
    def __init__(self, transport):
        self._transport = transport

    def __getattr__(self, name):
        return getattr(self._transport, name)


class ResetTransport(WrappedTransport):
    """A transport that was just reset, which asyncio notices in write_eof."""

    def write_eof(self):
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))


class TransportWithoutHalfClose(WrappedTransport):
    """A transport that ends both directions together, as one of TLS does."""

    def can_write_eof(self):
        return False

    def write_eof(self):
        raise NotImplementedError


@pytest.mark.parametrize("wrapped", [ResetTransport, TransportWithoutHalfClose])
async def test_the_sending_side_may_not_be_closed_alone(
    start, connect, caplog, monkeypatch, wrapped
):
    server, address, log = await start()
    made = Connection.connection_made
    monkeypatch.setattr(
        Connection, "connection_made", lambda self, transport: made(self, wrapped(transport))
    )
    client = await connect(address)
    await client.send(b"garbage\r\n\r\n")
    with suppress(ConnectionResetError):
        await client.read_all()
    await _wait_until(lambda: not server.connections)
    assert [(entry[2], len(entry)) for entry in log] == [(400, 5)]  # not truncated
    assert caplog.messages == []


@pytest.mark.parametrize("can_half_close", [True, False])
def test_a_tunnel_forwards_the_end_of_one_direction_where_it_can(can_half_close):
    tunnel = Tunnel("target", 1)
    tunnel.is_open = True
    for end in (tunnel.client_end, tunnel.target_end):
        end.transport = Mock(is_closing=Mock(return_value=False))
    to_client = tunnel.client_end.transport
    to_client.can_write_eof.return_value = can_half_close
    tunnel.target_end.eof_received()
    assert to_client.write_eof.called is can_half_close
    closed = [end.transport.close.called for end in (tunnel.client_end, tunnel.target_end)]
    assert closed == [not can_half_close] * 2
