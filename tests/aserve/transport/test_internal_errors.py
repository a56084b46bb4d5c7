"""A fault of ours ends one connection: it is raised in every step of every model, one at a time.

Whatever has raised, the client hears 500 or sees the end, the log has one line, and place,
descriptors and threads are as before.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

import aserve
from aserve.cache.response_cache import ResponseCache
from aserve.filesystem.directory import Directory
from aserve.handlers.static_site import StaticSite
from aserve.http1 import head_parser
from aserve.http1.body_reader import ChunkedReader
from aserve.http1.connection import H1Connection
from aserve.http1.limits import Limits
from aserve.http1.timeouts import Deadlines
from aserve.linux.io_uring import IoUring
from aserve.transport import socket_connection
from aserve.transport.connection_limiter import ConnectionLimiter
from aserve.transport.eventloop.acceptor import Acceptor
from aserve.transport.eventloop.connection import Connection
from aserve.transport.eventloop.file_sender import FileSender
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.write_readiness import WriteReadiness
from aserve.transport.internal_errors import isolate_errors
from aserve.transport.models import proactor, proactor_aio
from aserve.transport.models.reactor import ReactorServer as Reactor
from aserve.transport.multiplexing import MultiplexingServer
from aserve.transport.registry import MODELS
from aserve.transport.socket_connection import ConnectionContext, SocketConnection

PATIENCE = 10.0
LARGE = 3 << 20
NAMES = [name for name, row in MODELS.items() if not row.unavailable_reason()]

SHARED: list[Any] = [H1Connection, ChunkedReader, Deadlines, StaticSite, Directory]
PARTS: dict[str, list[Any]] = {
    "asyncio": [Connection, FileSender, WriteReadiness, Acceptor, EventLoopServer, ResponseCache],
    "threads": [SocketConnection, ConnectionContext],
    "reactor": [SocketConnection, ConnectionContext, Reactor],
    "proactor": [SocketConnection, ConnectionContext, proactor.UringConnection, IoUring],
    "proactor-aio": [
        SocketConnection,
        ConnectionContext,
        proactor_aio.AioConnection,
        MultiplexingServer,
    ],
}
# What is no step of a connection: the boundaries themselves, and what belongs to all of them.
NOT_A_STEP = {
    SocketConnection: {"process_ready", "fail", "abort", "_release_slot"},
    Connection: {
        *("connection_made", "data_received", "eof_received", "connection_lost", "pause_writing"),
        *("fail", "abort", "_wait_writable"),
    },
    FileSender: {"__init__", "close", "__del__"},
    WriteReadiness: {"close", "_on_ready", "__init__"},
    Acceptor: {
        "_spawn",
        "_make_connection",
        "_send_rest",
        "start",
        "close",
        "wait_closed",
        "abort",
        "_resume_accepting",
        "_accept_ready",
        "_pause_accepting",
        "__init__",
    },
    EventLoopServer: {"start", "stop", "abort", "_wait_aborted", "remove", "_sweep", "_tick_some"}
    | {"__init__"},
    ResponseCache: {"__init__", "tick", "close", "_unwatch", "_evict", "_clear"},
    StaticSite: {"__init__", "without_inlined_bodies"},
    Directory: {"__init__"},
    ConnectionContext: {"__init__"},
    IoUring: {"__init__", "wait", "close", "accept", "_enter", "_reap", "_on_accept", "_submit"}
    | {"_on_receive"},
    proactor.UringConnection: {"_release_fd", "_on_received", "_on_sent"},
    proactor_aio.AioConnection: {"_on_file_read"},
    MultiplexingServer: {
        *("__init__", "run", "_poll_once", "_poll_timeout", "_accept", "_process", "_tick"),
        *("_remove_connection", "_handle_control", "_add_connection"),
        *("_update_or_remove", "_is_finished", "_abort_all"),
    },
    Reactor: {
        *("__init__", "run", "_dispatch", "_accept", "_release", "_remove", "_claim", "_tick"),
        *("_handle_control", "_poll_timeout", "_is_finished", "_shutdown", "_process"),
    },
}
FUNCTIONS: list[tuple[Any, str]] = [
    (head_parser, "parse_head"),
    (head_parser, "check_size"),
    (socket_connection, "error_response"),
    (socket_connection, "format_date"),
    (os, "sendfile"),
    (ConnectionLimiter, "admit"),
    (ConnectionLimiter, "reserve_descriptors"),
]


class Fault(Exception):
    """What nobody has written code for."""


class Step(NamedTuple):
    """Where a fault is raised: at the nth call of a function."""

    owner: Any
    name: str
    nth: int

    def __str__(self) -> str:
        return f"{getattr(self.owner, '__name__', self.owner)}.{self.name}[{self.nth}]"


def steps_of(model: str) -> list[Step]:
    row = MODELS[model]
    parts = PARTS.get(model) or PARTS["asyncio" if row.uses_event_loop else "threads"]
    places = list(FUNCTIONS)
    for part in (*SHARED, *parts):
        leave_out = NOT_A_STEP.get(part, set())
        for name, value in vars(part).items():
            if callable(value) and not isinstance(value, type) and name not in leave_out:
                places.append((part, name))
    return [Step(*place, nth) for place in places for nth in (1, 4)]


@contextmanager
def raising(step: Step) -> Iterator[list[Fault]]:
    """Have a function raise once; what is yielded tells whether it has."""
    raised: list[Fault] = []
    lock, count = threading.Lock(), 0
    original = vars(step.owner)[step.name]
    is_boundary = step.owner in {
        Connection,
        SocketConnection,
        proactor.UringConnection,
        proactor_aio.AioConnection,
    }
    inner = getattr(original, "__wrapped__", original) if is_boundary else original

    def fails(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        with lock:
            count += 1
            due = count == step.nth
        if due:
            raised.append(Fault(str(step)))
            raise raised[0]
        return inner(*args, **kwargs)

    # A boundary stays one: what is raised is raised inside.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step.owner, step.name, fails if inner is original else isolate_errors(fails))
        yield raised


class Running(NamedTuple):
    address: tuple[str, int]
    guests: Callable[[], set[Any]]
    log: list[tuple[Any, ...]]


@contextmanager
def running(name: str, folder: Path) -> Iterator[Running]:
    log: list[tuple[Any, ...]] = []
    if MODELS[name].uses_event_loop:
        with aserve.Server(folder, model=name, grace=1) as server:
            model = server._worker._server
            model.observer = lambda *entry: log.append(entry)
            where = urlsplit(server.url)
            address = str(where.hostname), int(where.port or 0)
            yield Running(address, lambda: model._limiter.connections, log)
        return
    model = None

    def live() -> None:
        nonlocal model
        model = MODELS[name].create_server(
            StaticSite(Directory(folder)), Limits(), lambda *entry: log.append(entry)
        )
        model.run([listener], (orders.fileno(),), 1.0)

    ours, orders = socket.socketpair()
    with ours, orders, socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=live, name="server")
        thread.start()
        until(lambda: model is not None)
        try:
            yield Running(listener.getsockname(), lambda: model._context.limiter.connections, log)
        finally:
            ours.send(b"ss")
            thread.join(PATIENCE)
        assert not thread.is_alive()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.0005)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "small").write_bytes(b"small")
    (folder / "large").write_bytes(bytes(LARGE))
    for file in folder.iterdir():
        os.utime(file, (1, 1))  # or they would be too young to be remembered
    return folder


def get(target: str, *, closes: bool = False) -> bytes:
    option = "Connection: close\r\n" if closes else ""
    return f"GET /{target} HTTP/1.1\r\nHost: a\r\n{option}\r\n".encode()


SESSIONS = [
    get("small") + get("small", closes=True),
    get("small") * 20 + get("none") + get("small", closes=True),
    get("large") + get("large", closes=True),
    b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n" * 2
    + get("small", closes=True),
    b"nonsense\r\n\r\n",
]


def converse(address: tuple[str, int], octets: bytes) -> bytes:
    """Say something and return all that is said, up to an end that must come."""
    reply = []
    with socket.socket() as client:
        client.settimeout(PATIENCE)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)  # large ones come in parts
        client.connect(address)
        with suppress(ConnectionError):  # TimeoutError is none
            client.sendall(octets)
            while part := client.recv(1 << 18):
                reply.append(part)
    return b"".join(reply)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_in_any_step_ends_one_connection(
    name: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reached = 0
    with running(name, folder) as server:
        for _ in range(3):  # until what can be remembered is
            for octets in SESSIONS:
                converse(server.address, octets)
        until(lambda: not server.guests())
        before = descriptors()
        threads = set(threading.enumerate())
        for step in steps_of(name):
            caplog.clear()
            with raising(step) as raised:
                for octets in SESSIONS:
                    converse(server.address, octets)
                    if raised:
                        break
                until(lambda: not server.guests())
            if not raised:
                continue
            reached += 1
            told = repr(raised.pop())  # with the fault itself we would keep what its frames know
            assert converse(server.address, get("small", closes=True)).endswith(b"\r\n\r\nsmall")
            until(lambda: not server.guests())
            until(lambda: descriptors() <= before)
            assert set(threading.enumerate()) >= threads, step
            assert len(caplog.records) == 1, (step, caplog.messages)
            assert told in caplog.messages[0]
            assert "\n" not in caplog.text.strip()
    assert reached > 40


def fail(*_args: Any, **_kwargs: Any) -> Any:
    raise Fault


@pytest.mark.parametrize("name", NAMES)
def test_nothing_sent_yet_is_500_and_more_is_an_end(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(name, folder) as server:
        with monkeypatch.context() as patch:
            patch.setattr(StaticSite, "handle", fail)
            reply = converse(server.address, get("small") * 3)
            assert reply.startswith(b"HTTP/1.1 500 ")
            assert reply.count(b"HTTP/1.1 ") == 1
            assert b"\r\nConnection: close\r\n" in reply
            until(lambda: len(server.log) == 1)
            assert server.log.pop()[2:4] == (500, len(reply.partition(b"\r\n\r\n")[2]))
        sent = 0
        sendfile = os.sendfile
        reads = {
            "proactor": (proactor.UringConnection, "_read_file"),
            "proactor-aio": (proactor_aio.AioConnection, "_read_file"),
        }

        def breaks(*args: Any) -> int:
            nonlocal sent
            if sent:
                raise Fault
            sent += sendfile(*args[:-1], 1_000)
            return sent

        def breaks_later(*args: Any, **kwargs: Any) -> Any:
            nonlocal sent
            sent += 1
            return real(*args, **kwargs) if sent < 3 else fail()

        if name in reads:
            real = getattr(*reads[name])
            monkeypatch.setattr(*reads[name], breaks_later)
        else:
            monkeypatch.setattr(os, "sendfile", breaks)
        head, _, body = converse(server.address, get("large")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert 0 < len(body) < LARGE
        until(lambda: len(server.log) == 1)
        (entry,) = server.log
        assert (entry[2], entry[3], entry[5]) == (200, len(body), True)
        until(lambda: not server.guests())


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_in_the_sweep_or_in_stopping_holds_nobody_up(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(name, folder) as server, socket.create_connection(server.address) as client:
        client.settimeout(PATIENCE)
        client.sendall(b"GET / HT")
        until(lambda: len(server.guests()) == 1)
        with monkeypatch.context() as patch:
            patch.setattr(Deadlines, "expired", fail)
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 500 ")
            with suppress(ConnectionError):
                while client.recv(1 << 16):
                    pass
        assert converse(server.address, get("small", closes=True)).endswith(b"small")
        other = socket.create_connection(server.address)
        other.sendall(get("small"))
        assert other.recv(1 << 16).endswith(b"small")
        monkeypatch.setattr(
            H1Connection, "close_after_response", fail
        )  # until the server has stopped
    other.close()
