"""A server that does what a test tells it to and keeps its own count, and ways to load it."""

import asyncio
import contextlib
import gc
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from abench.cli import main
from abench.plan.plan import Plan
from abench.plan.route import Route, TlsOptions
from abench.run.worker import START, Finished, Message, Ready, WorkerRun
from abench.stats.summary import Summary

OK_REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Peer(asyncio.Protocol):
    """One connection as the server has it; `asked` is how many requests came on it."""

    def __init__(self, server: "ScriptedServer") -> None:
        self.server = server
        self.asked = 0
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.server.accepted(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.server.open.discard(self)
        if not self.server.open:
            self.server.deserted.set()

    def data_received(self, data: bytes) -> None:
        *requests, self._pending = (self._pending + data).split(b"\r\n\r\n")
        for request in requests:
            self.asked += 1
            self.server.requests.append(request)
            self.server.script(self)

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    def close(self) -> None:
        self.transport.close()

    def reset(self) -> None:
        raw = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


Script = Callable[[Peer], None]


class ScriptedServer:
    """Calls `script(peer)` for each request; `accept(peer)` for each connection."""

    def __init__(self, script: Script, accept: Script | None) -> None:
        self.script = script
        self.accept = accept
        self.requests: list[bytes] = []
        self.connections = 0
        self.open: set[Peer] = set()
        self.deserted = asyncio.Event()  # while no connection is left
        self.peak = 0
        self.scheme, self.port = "http", 0

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/"

    def accepted(self, peer: Peer) -> None:
        self.connections += 1
        self.open.add(peer)
        self.deserted.clear()
        self.peak = max(self.peak, len(self.open))
        if self.accept:
            self.accept(peer)


Serve = Callable[..., Awaitable[ScriptedServer]]


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> Path:
    """A folder with an authority's certificate, and a server's and a client's that it signed."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca",
            "-addext", "keyUsage=critical,keyCertSign", "-days", "2")  # fmt: skip
    for name in ("server", "client"):
        openssl("req", "-x509", *new, "-keyout", f"{name}.key", "-out", f"{name}.pem",
                "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:bench.test",
                "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2",
                "-addext", "basicConstraints=critical,CA:FALSE")  # fmt: skip
    return folder


@pytest.fixture
def secured(authority: Path) -> ssl.SSLContext:
    """Return what a server needs for TLS; no client is asked who it is."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority / "ca.pem")
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    return context


class Relay(asyncio.Protocol):
    """Whatever comes goes to another transport, as fast as that takes it, and so does its end."""

    def __init__(self, other: asyncio.Transport) -> None:
        self.data_received = other.write
        self.connection_lost = lambda _exc: other.close()
        self.pause_writing, self.resume_writing = other.pause_reading, other.resume_reading


class Tunnel(Peer):
    """A connection to a proxy: its one request is a CONNECT, to a port of this machine."""

    def data_received(self, data: bytes) -> None:
        self.server.requests.append(data.removesuffix(b"\r\n\r\n"))
        port = int(data.split()[1].rpartition(b":")[2])
        self.cancel_connect = asyncio.get_running_loop().create_task(self._open(port))

    async def _open(self, port: int) -> None:
        loop, here = asyncio.get_running_loop(), self.transport
        there, _ = await loop.create_connection(lambda: Relay(here), "127.0.0.1", port)
        here.set_protocol(Relay(there))
        here.write(b"HTTP/1.1 200 Connection established\r\n\r\n")


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
def over() -> str:
    """Say how servers are reached that are told nothing else: see OVER."""
    return "TCP"


# Marks tests that hold however a server is reached: the plans that they carry out are completed.
OVER = pytest.mark.parametrize("over", ["TCP", "TLS", "TLS through a proxy"])


def reply_with(data: bytes) -> Script:
    return lambda peer: peer.send(data)


@pytest.fixture
async def serve(over: str, request: pytest.FixtureRequest) -> AsyncIterator[Serve]:
    """Start a ScriptedServer on a free port or at a path: `await serve(script_or_reply)`."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(
            script: Script | bytes = OK_REPLY,
            accept: Script | None = None,
            host: str = "127.0.0.1",
            path: str | None = None,
            **options: object,
        ) -> ScriptedServer:
            wanted = reply_with(script) if isinstance(script, bytes) else script
            server = ScriptedServer(wanted, accept)
            loop = asyncio.get_running_loop()
            if over != "TCP":
                server.scheme, options["ssl"] = "https", request.getfixturevalue("secured")
            if path:
                listener = await loop.create_unix_server(lambda: Peer(server), path)
            else:
                listener = await loop.create_server(
                    lambda: Peer(server), host, 0, backlog=2048, **options
                )
                server.port = listener.sockets[0].getsockname()[1]
            stack.callback(lambda: [peer.transport.abort() for peer in list(server.open)])
            stack.callback(listener.close)
            return server

        yield start


@dataclass
class Carried:
    """What one worker told of its share."""

    summary: Summary
    messages: list[Message]


@pytest.fixture
def untouched_gc() -> Iterator[None]:
    """Undo what a worker does to the garbage collector of the process it has for itself."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.fixture
def carry_out(
    over: str, untouched_gc: None, serve_proxy: Serve
) -> Callable[..., Awaitable[Carried]]:
    """Carry out a Plan in this process's own loop: `await carry_out(url=..., requests=...)`."""

    async def run(**plan: object) -> Carried:
        messages: list[Message] = []
        if over != "TCP":
            plan.setdefault("tls", TlsOptions(insecure=True))
        if over == "TLS through a proxy":
            plan["route"] = Route(proxy=f"127.0.0.1:{(await serve_proxy()).port}")
        reading, writing = os.pipe()
        try:
            os.write(writing, START)
            await WorkerRun(Plan(**plan), reading, messages.append).run()  # type: ignore[arg-type]
        finally:
            os.close(reading)
            os.close(writing)
        return Carried(_sum(messages), messages)

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
class Ran:
    """How an abench process ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, object]:
        return json.loads(self.out)


@pytest.fixture
def abench() -> Callable[..., Awaitable[Ran]]:
    """Run `abench` as a process: `await abench("-n", "3", url)`."""

    async def run(*arguments: str) -> Ran:
        process = await spawn(*arguments)
        out, err = await process.communicate()
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run `abench` in this process, for words that it refuses: another takes half a second."""

    def run(*arguments: str) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        return Ran(ended.value.code, *capsys.readouterr())

    return run


async def spawn(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "abench",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.fixture
def start_abench() -> Callable[..., Awaitable[asyncio.subprocess.Process]]:
    """Start `abench` as a process and leave it running."""
    return spawn


@pytest.fixture
def ok_reply() -> bytes:
    return OK_REPLY
