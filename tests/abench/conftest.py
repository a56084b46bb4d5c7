"""A server that a test scripts, with its own counts, and ways to load it."""

import asyncio
import contextlib
import itertools
import json
import os
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from abench.cli import main
from abench.client import (
    connection,
    connection_pool,
    one_shot,
    open_loop,
    pipelined,
    scheduler,
    socket_transport,
)
from abench.plan.plan import Plan
from abench.plan.route import Route, TlsOptions
from abench.report import html
from abench.runner import worker
from abench.runner.worker import START, START_COUNTING, Finished, Message, Ready, WorkerRun
from abench.scenario import user_connection
from abench.stats.summary import Summary
from tests.abench.tls_peer import TlsPeer
from tests.abench.virtual_time import VirtualTimeLoop, VirtualTimer, clock
from tests.fork_server import ForkServer, Program, fork_server
from tests.marks import slow

OK_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], object]]:
    """Run tests with the marker virtual_time in a loop whose time is that of its timers."""
    if item.get_closest_marker("virtual_time"):
        return {"virtual time": VirtualTimeLoop}
    return {"asyncio": asyncio.new_event_loop}


_TIMED = (
    *(connection, connection_pool, one_shot, open_loop, pipelined, scheduler),
    *(socket_transport, worker, user_connection),
)


@pytest.fixture(autouse=True)
def _virtual_time(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("virtual_time"):
        for module in _TIMED:
            monkeypatch.setattr(module, "_clock", clock)
        monkeypatch.setattr(scheduler, "Timer", VirtualTimer)


class Peer(asyncio.Protocol):
    """One connection of the server; `request_count` is how many requests it has received."""

    def __init__(self, server: "ScriptedServer") -> None:
        self.server = server
        self.request_count = 0
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.server.accepted(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.server.open.discard(self)
        if not self.server.open:
            self.server.all_closed.set()

    def data_received(self, data: bytes) -> None:
        *requests, self._pending = (self._pending + data).split(b"\r\n\r\n")
        for request in requests:
            self.request_count += 1
            self.server.requests.append(request)
            self.server.script(self)

    def send(self, data: bytes) -> None:
        """Send data, unless the client has gone: a test may have asked for it a while ago."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def close(self) -> None:
        self.transport.close()

    def reset(self) -> None:
        raw = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


Script = Callable[[Peer], None]


class ScriptedServer:
    """Calls `script(peer)` for each request and `accept(peer)` for each connection."""

    def __init__(self, script: Script, accept: Script | None) -> None:
        self.script = script
        self.accept = accept
        self.requests: list[bytes] = []
        self.connections = 0
        self.open: set[Peer] = set()
        self.all_closed = asyncio.Event()  # set while no connection is open
        self.peak = 0
        self.scheme, self.port = "http", 0
        self.listener: asyncio.Server

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/"

    def accepted(self, peer: Peer) -> None:
        self.connections += 1
        self.open.add(peer)
        self.all_closed.clear()
        self.peak = max(self.peak, len(self.open))
        if self.accept:
            self.accept(peer)


Serve = Callable[..., Awaitable[ScriptedServer]]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory) -> Path:
    """A directory with a CA certificate, and those that it signed for a server and a client."""
    directory = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca",
            "-addext", "keyUsage=critical,keyCertSign", "-days", "2")  # fmt: skip
    for name in ("server", "client"):
        openssl("req", "-x509", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.pem",
                "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:bench.test",
                "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2",
                "-addext", "basicConstraints=critical,CA:FALSE")  # fmt: skip
    return directory


@pytest.fixture
def server_context(certificates: Path) -> ssl.SSLContext:
    """Return the SSL context of a server that requires no client certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.pem")
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    return context


@pytest.fixture
async def serve_tls(server_context: ssl.SSLContext) -> AsyncIterator[Callable[..., object]]:
    """Start a server of TlsPeer: `url, accepted = await serve_tls(response, ends=...)`."""
    listeners: list[asyncio.Server] = []
    peers: list[TlsPeer] = []

    async def start(
        *response: bytes,
        ends: str = "",
        version: ssl.TLSVersion | None = None,
        contexts: Iterator[ssl.SSLContext] | None = None,
    ) -> tuple[str, list[TlsPeer]]:
        accepted: list[TlsPeer] = []
        next_contexts = contexts or itertools.repeat(server_context)
        if version:
            server_context.minimum_version = server_context.maximum_version = version

        def accept() -> TlsPeer:
            accepted.append(TlsPeer(next(next_contexts), response, ends=ends))
            peers.append(accepted[-1])
            return accepted[-1]

        listener = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0)
        listeners.append(listener)
        return f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/", accepted

    yield start
    for listener in listeners:
        listener.close()
    for peer in peers:
        peer.transport.abort()
        await peer.lost


class Relay(asyncio.Protocol):
    """Forwards data and its end to another transport, as fast as that accepts it."""

    def __init__(self, other: asyncio.Transport) -> None:
        self.data_received = other.write
        self.connection_lost = lambda _exc: other.close()
        self.pause_writing, self.resume_writing = other.pause_reading, other.resume_reading


class Tunnel(Peer):
    """A connection to a proxy, whose one request is a CONNECT to a port of this machine."""

    def data_received(self, data: bytes) -> None:
        self.server.requests.append(data.removesuffix(b"\r\n\r\n"))
        port = int(data.split()[1].rpartition(b":")[2])
        self.open_task = asyncio.get_running_loop().create_task(self._open(port))

    async def _open(self, port: int) -> None:
        loop, client = asyncio.get_running_loop(), self.transport
        server, _ = await loop.create_connection(lambda: Relay(client), "127.0.0.1", port)
        client.set_protocol(Relay(server))
        client.write(b"HTTP/1.1 200 Connection established\r\n\r\n")


@pytest.fixture
async def serve_proxy() -> AsyncIterator[Serve]:
    """Start a proxy that opens tunnels to this machine: `await serve_proxy()`."""
    async with contextlib.AsyncExitStack() as stack:

        async def start() -> ScriptedServer:
            server = ScriptedServer(lambda _peer: None, None)
            loop = asyncio.get_running_loop()
            listener = await loop.create_server(lambda: Tunnel(server), "127.0.0.1", 0)
            server.port = listener.sockets[0].getsockname()[1]
            stack.callback(lambda: [peer.transport.abort() for peer in server.open])
            stack.callback(listener.close)
            return server

        yield start


@pytest.fixture
def transport(request: pytest.FixtureRequest) -> str:
    """How servers are reached by default: see TRANSPORTS and virtual_time.py."""
    return "UNIX" if request.node.get_closest_marker("virtual_time") else "TCP"


# Marks tests that hold for each way to reach a server: `run_plan` completes their plans.
TRANSPORTS = pytest.mark.parametrize(
    "transport",
    ["TCP", slow("TLS"), "TLS through a proxy"],  # the last is TLS as well
)


def respond_with(data: bytes) -> Script:
    return lambda peer: peer.send(data)


@pytest.fixture
async def serve(
    transport: str, request: pytest.FixtureRequest, unix_path: str
) -> AsyncIterator[Serve]:
    """Start a ScriptedServer on a free port or at a path: `await serve(script_or_response)`."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(
            script: Script | bytes = OK_RESPONSE,
            accept: Script | None = None,
            host: str = "127.0.0.1",
            path: str | None = None,
            **options: object,
        ) -> ScriptedServer:
            run_script = respond_with(script) if isinstance(script, bytes) else script
            server = ScriptedServer(run_script, accept)
            loop = asyncio.get_running_loop()
            if transport.startswith("TLS"):
                server.scheme, options["ssl"] = "https", request.getfixturevalue("server_context")
            if transport == "UNIX":
                path, server.port = unix_path, 80
            if path:
                listener = await loop.create_unix_server(lambda: Peer(server), path)
            else:
                listener = await loop.create_server(
                    lambda: Peer(server), host, 0, backlog=2048, **options
                )
                server.port = listener.sockets[0].getsockname()[1]
            server.listener = listener
            stack.callback(lambda: [peer.transport.abort() for peer in list(server.open)])
            stack.callback(listener.close)
            return server

        yield start


@pytest.fixture
def unix_path(tmp_path: Path) -> str:
    """The path of the server of a test with virtual time."""
    return str(tmp_path / "server")


@dataclass
class WorkerResult:
    """What one worker reported of its share."""

    summary: Summary
    messages: list[Message]


@pytest.fixture
def kept_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no worker collect the garbage of this process: all tests are its heap, and take 0.1 s."""
    monkeypatch.setattr(worker, "_freeze_memory", lambda: None)


class ClientClock:
    """The clock that measures requests in this process, which a test can set forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead_ns = 0
        self._monkeypatch = monkeypatch
        for module in (
            connection,
            connection_pool,
            one_shot,
            open_loop,
            pipelined,
            user_connection,
        ):
            read = module._clock
            monkeypatch.setattr(module, "_clock", lambda read=read: read() + self._ahead_ns)

    def set_ahead(self, seconds: float) -> None:
        """Let the clock be ahead of the true one by this much."""
        self._ahead_ns = round(seconds * 1e9)

    def expire_when(self, is_due: Callable[[connection.Connection], bool]) -> None:
        """Let the time of a request be up as soon as `is_due` of its connection, and not before.

        So a test of what happens then needs no limit that a busy machine could reach.
        """

        def expire(pool: connection_pool.ConnectionPool) -> None:
            for each in pool.connections:
                if each.sent_at and is_due(each):
                    each.fail_overdue()

        self._monkeypatch.setattr(connection_pool.ConnectionPool, "expire_overdue", expire)


@pytest.fixture
def client_clock(monkeypatch: pytest.MonkeyPatch) -> ClientClock:
    return ClientClock(monkeypatch)


@pytest.fixture
def run_plan(
    transport: str, kept_collector: None, serve_proxy: Serve, unix_path: str
) -> Callable[..., Awaitable[WorkerResult]]:
    """Carry out a Plan in the event loop of this process: `await run_plan(url=...)`."""

    async def run(**plan: object) -> WorkerResult:
        messages: list[Message] = []
        if transport == "UNIX":
            plan["route"] = Route(unix=unix_path)
        if transport.startswith("TLS"):
            plan.setdefault("tls", TlsOptions(insecure=True))
        if transport == "TLS through a proxy":
            plan["route"] = Route(proxy=f"127.0.0.1:{(await serve_proxy()).port}")
        read_end, write_end = os.pipe()
        try:
            os.write(write_end, START)
            whole = Plan(**plan)  # type: ignore[arg-type]
            if whole.warmup_s:
                loop = asyncio.get_running_loop()
                loop.call_later(whole.warmup_s, os.write, write_end, START_COUNTING)
            await WorkerRun(whole, read_end, messages.append).run()
        finally:
            os.close(read_end)
            os.close(write_end)
        return WorkerResult(_sum(messages), messages)

    return run


def _sum(messages: list[Message]) -> Summary:
    summary = Summary()
    for message in messages:
        match message:
            case Ready():
                summary.open_connections = message.open_connections
            case Summary():
                summary.merge(message)
            case Finished():
                summary.merge(message.last)
    return summary


@dataclass
class Completed:
    """The exit code and the output of an abench process."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, object]:
        return json.loads(self.out)


@pytest.fixture(scope="session")
def abench_server() -> Iterator[ForkServer]:
    with fork_server("abench", "--connections", "none", "http://127.0.0.1/") as server:
        yield server


@pytest.fixture
async def start_program(
    abench_server: ForkServer,
) -> AsyncIterator[Callable[..., Awaitable[Program]]]:
    """Start code that may import abench: `await start_program(code="...", arguments=[...])`."""
    started = []

    async def start(**program: object) -> Program:
        started.append(await abench_server.start(program))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def start_abench(
    start_program: Callable[..., Awaitable[Program]],
) -> Callable[..., Awaitable[Program]]:
    """Start `abench` as a process and leave it running."""
    return lambda *arguments: start_program(module="abench", arguments=arguments)


@pytest.fixture
def abench(start_abench: Callable[..., Awaitable[Program]]) -> Callable[..., Awaitable[Completed]]:
    """Run `abench` as a process: `await abench("-n", "3", url)`."""

    async def run(*arguments: str) -> Completed:
        process = await start_abench(*arguments)
        out, err = await process.communicate()
        assert process.returncode is not None
        return Completed(process.returncode, out.decode(), err.decode())

    return run


_main = import_module("abench.cli.main")  # the module: abench.cli.main is the function
_build_parser = cache(_main.build_parser)


@pytest.fixture
def refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Completed]:
    """Run `abench` in this process with bad arguments: a new process takes half a second.

    A new parser takes 10 ms, and is the same for each run.
    """
    monkeypatch.setattr(_main, "build_parser", _build_parser)

    def run(*arguments: str) -> Completed:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        return Completed(ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write pages without their plots, which take half a second each."""
    monkeypatch.setattr(html, "_plots", lambda *_args, **_options: iter(()))


@pytest.fixture
def ok_response() -> bytes:
    return OK_RESPONSE
