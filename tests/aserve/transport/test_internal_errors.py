"""An internal error closes one connection. It is raised in every step of every model in turn.

Whatever raises, the client gets a 500 or the end of the connection, the log gets one line, and
slots, descriptors and threads are as before.
"""

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

import aserve
from aserve.cache.response_cache import ResponseCache
from aserve.filesystem.directory import Directory
from aserve.handlers import error_pages
from aserve.handlers.static_files import StaticFiles
from aserve.http1 import head_parser
from aserve.http1.body_reader import ChunkedReader
from aserve.http1.connection import H1Connection
from aserve.http1.limits import Limits
from aserve.http1.timeouts import Deadlines
from aserve.linux.io_uring import IoUring
from aserve.linux.posix_aio import PosixAio
from aserve.policies.site import Site
from aserve.transport import socket_connection
from aserve.transport.completion import CompletionConnection
from aserve.transport.connection_context import ConnectionContext
from aserve.transport.connection_limiter import ConnectionLimiter
from aserve.transport.eventloop.acceptor import Acceptor
from aserve.transport.eventloop.body_receiver import BodyReceiver
from aserve.transport.eventloop.connection import Connection
from aserve.transport.eventloop.file_sender import FileSender
from aserve.transport.eventloop.response_sender import ResponseSender
from aserve.transport.eventloop.response_writer import ResponseWriter
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.write_readiness import WriteReadiness
from aserve.transport.internal_errors import isolate_errors
from aserve.transport.models import proactor, proactor_aio
from aserve.transport.models.reactor import ReactorServer as Reactor
from aserve.transport.multiplexing import MultiplexingLoop
from aserve.transport.registry import BY_THE_BOOK, DEFAULT, MODELS, ModelInfo
from aserve.transport.server_connection import ServerConnection
from aserve.transport.socket_connection import SocketConnection
from aserve.transport.socket_writer import SocketWriter
from tests.main_thread import off_main_thread, run_on_main_thread
from tests.marks import slow_except

TIMEOUT = 60.0
LARGE = 3 << 20
FORMS: dict[str, tuple[ModelInfo, tuple[int, ...]]] = {
    **{name: (info, ()) for name, info in MODELS.items()},
    **{f"{name} by the book": (info, ()) for name, info in BY_THE_BOOK.items()},
    "proactor with threads": (MODELS["proactor"], (2,)),
}
"""Each form of each model, and the settings that its server gets."""
NAMES = [
    name
    for name, (info, _) in FORMS.items()
    if not (info.unavailable_reason() or info.needs_processes)  # see test_processes.py
]

SHARED: list[Any] = [
    *(H1Connection, ChunkedReader, Deadlines, Site, Directory),
    ServerConnection,
]
BOUNDARIES: list[Any] = [
    *(ServerConnection, SocketWriter, SocketConnection),
    *(ResponseWriter, BodyReceiver, Connection),
    *(CompletionConnection, proactor_aio.AioConnection),
]
CLASSES: dict[str, list[Any]] = {
    "asyncio": [
        *(Connection, BodyReceiver, ResponseWriter, ResponseSender, FileSender, WriteReadiness),
        *(Acceptor, EventLoopServer, ResponseCache),
    ],
    "threads": [SocketConnection, SocketWriter, ConnectionContext],
    "reactor": [SocketConnection, SocketWriter, ConnectionContext, Reactor],
    "proactor": [
        SocketConnection,
        SocketWriter,
        ConnectionContext,
        CompletionConnection,
        proactor.RingOperations,
        IoUring,
    ],
    "proactor with threads": [
        SocketConnection,
        SocketWriter,
        ConnectionContext,
        CompletionConnection,
        proactor.ForwardedOperations,
    ],
    "signal-driven by the book": [
        SocketConnection,
        SocketWriter,
        ConnectionContext,
        MultiplexingLoop,
    ],
    "proactor-aio": [
        SocketConnection,
        SocketWriter,
        ConnectionContext,
        CompletionConnection,
        proactor_aio.AioConnection,
        proactor_aio.AioOperations,
        PosixAio,
    ],
}
# Not steps of one connection: the boundaries themselves, and what all connections share.
NOT_A_STEP = {
    ServerConnection: {"fail", "_can_replace_response", "_abort_response", "abort"}
    | {"_reset_if_unfinished"},
    SocketConnection: {"process_ready", "abort", "_release_slot"},
    ResponseWriter: {"pause_writing", "_wait_writable", "_abort_response", "abort"},
    Connection: {"connection_made", "data_received", "eof_received", "connection_lost"},
    ResponseSender: {"__init__", "close"},
    FileSender: {"__init__", "close", "__del__"},
    WriteReadiness: {"close", "_on_ready", "__init__"},
    Acceptor: {
        "_spawn",
        "_make_connection",
        "_send_rest",
        "start",
        "close",
        "wait_connected",
        "wait_closed",
        "abort",
        "_resume_accepting",
        "serve",
        "_pause_accepting",
        "__init__",
    },
    EventLoopServer: {
        "start",
        "stop_accepting",
        "stop",
        "abort",
        "_wait_aborted",
        "remove",
        "_sweep",
        "_tick_some",
    }
    | {"__init__"},
    ResponseCache: {"__init__", "tick", "close", "_unwatch", "_evict", "_clear"},
    Site: {"__init__", "of_files", "without_inlined_bodies"},
    StaticFiles: {"__init__"},
    Directory: {"__init__"},
    ConnectionContext: {"__init__"},
    IoUring: {"__init__", "wait", "close", "accept", "_enter", "_reap", "_on_accept", "_submit"}
    | {"_on_receive"},
    CompletionConnection: {"_release_fd", "_on_received", "_on_sent", "post", "on_tick", "on_stop"},
    proactor.RingOperations: {"close"},
    proactor.ForwardedOperations: {"close"},
    proactor_aio.AioOperations: {"close"},
    PosixAio: {"__init__", "_complete", "process_completions", "find_unannounced", "close"},
    MultiplexingLoop: {
        *("__init__", "_run_once", "_poll_for_reading", "_stop_polling", "_accept", "_process"),
        *("_remove_connection", "_add_connection", "_update_or_remove", "_tick"),
        *("_close_connections", "_is_idle", "_shutdown"),
    },
    Reactor: {
        *("__init__", "_start", "_run_once", "_poll_for_reading", "_stop_polling", "_process"),
        *("_add_connection", "_release", "_remove", "_claim", "_tick", "_close_connections"),
        "_submit_or_reject",
        *("_is_idle", "_shutdown"),
    },
}
FUNCTIONS: list[tuple[Any, str]] = [
    (head_parser, "parse_head"),
    (head_parser, "check_size"),
    (error_pages, "error_response"),
    (socket_connection, "format_date"),
    (os, "sendfile"),
    (ConnectionLimiter, "admit"),
    (ConnectionLimiter, "reserve_descriptors"),
]


class UnexpectedError(Exception):
    """An exception that no code expects."""


class Step(NamedTuple):
    """Where the error is raised: at the nth call of a function."""

    owner: Any
    name: str
    nth: int

    def __str__(self) -> str:
        return f"{getattr(self.owner, '__name__', self.owner)}.{self.name}[{self.nth}]"


def steps_of(model: str) -> list[Step]:
    info, _ = FORMS[model]
    classes = CLASSES.get(model) or CLASSES["asyncio" if info.uses_event_loop else "threads"]
    functions = list(FUNCTIONS)
    for owner in (*SHARED, *classes):
        excluded = NOT_A_STEP.get(owner, set())
        for name, value in vars(owner).items():
            if callable(value) and not isinstance(value, type) and name not in excluded:
                functions.append((owner, name))
    return [Step(*function, nth) for function in functions for nth in (1, 4)]


@contextmanager
def raising(step: Step) -> Iterator[list[UnexpectedError]]:
    """Make a function raise once. The yielded list holds the error once it was raised."""
    raised: list[UnexpectedError] = []
    lock, count = threading.Lock(), 0
    original = vars(step.owner)[step.name]
    is_boundary = step.owner in BOUNDARIES
    inner = getattr(original, "__wrapped__", original) if is_boundary else original

    def raise_once(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        with lock:
            count += 1
            is_due = count == step.nth
        if is_due:
            raised.append(UnexpectedError(str(step)))
            raise raised[0]
        return inner(*args, **kwargs)

    # A boundary stays one: the error is raised inside it.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            step.owner, step.name, raise_once if inner is original else isolate_errors(raise_once)
        )
        yield raised


@contextmanager
def noting_calls(steps: list[Step]) -> Iterator[list[tuple[Any, str]]]:
    """Yield a list that gets the owner and name of each function of these steps that is called."""
    calls: list[tuple[Any, str]] = []

    def noting(owner: Any, name: str) -> Callable[..., Any]:
        function = vars(owner)[name]

        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append((owner, name))
            return function(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in {step[:2] for step in steps}:
            patch.setattr(owner, name, noting(owner, name))
        yield calls


class Running(NamedTuple):
    address: tuple[str, int]
    connections: Callable[[], set[Any]]
    log: list[tuple[Any, ...]]


@contextmanager
def running(name: str, directory: Path) -> Iterator[Running]:
    log: list[tuple[Any, ...]] = []
    info, settings = FORMS[name]
    if info.uses_event_loop:
        with aserve.Server(directory, model=name, grace=1) as server:
            model = server._running._worker._current._server
            model.observer = lambda *entry: log.append(entry)
            parts = urlsplit(server.url)
            address = str(parts.hostname), int(parts.port or 0)
            yield Running(address, lambda: model.limiter.connections, log)
        return
    model = None

    def run_server() -> None:
        nonlocal model
        site = Site.of_files(Directory(directory))
        model = info.create_server(site, Limits(), lambda *entry: log.append(entry), *settings)
        model.run([listener], (control.fileno(),), 1.0)
        ended.set()

    ended = threading.Event()
    ours, control = socket.socketpair()
    with ours, control, socket.create_server(("127.0.0.1", 0)) as listener:
        if info.needs_main_thread:
            run_on_main_thread(run_server)
        else:
            threading.Thread(target=run_server, name="server").start()
        wait_until(lambda: model is not None)
        try:
            yield Running(listener.getsockname(), lambda: model._context.limiter.connections, log)
        finally:
            ours.send(b"ss")
            assert ended.wait(TIMEOUT)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.0005)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("errors")
    (directory / "small").write_bytes(b"small")
    (directory / "large").write_bytes(bytes(LARGE))
    for file in directory.iterdir():
        os.utime(file, (1, 1))  # old enough to be cached
    return directory


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


def exchange(address: tuple[str, int], data: bytes) -> bytes:
    """Send data and return all that is received, up to the end, which must come."""
    chunks = []
    with socket.socket() as client:
        client.settimeout(TIMEOUT)
        # A small buffer, so that large responses take several sends.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        client.connect(address)
        with suppress(ConnectionError):  # TimeoutError is not one
            client.sendall(data)
            while chunk := client.recv(1 << 18):
                chunks.append(chunk)
    return b"".join(chunks)


def count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def find_reached(steps: list[Step], server: Running) -> list[Step]:
    """Return the steps that one pass through all sessions reaches: a third, which saves 2 s."""
    with noting_calls(steps) as noted:
        for session in SESSIONS:
            exchange(server.address, session)
        wait_until(lambda: not server.connections())
    calls = Counter(noted)
    return [step for step in steps if calls[step[:2]] >= step.nth]


# 2 s each, of processor time.
@pytest.mark.parametrize("name", slow_except(NAMES, DEFAULT))
@off_main_thread
def test_an_error_in_any_step_closes_one_connection(
    name: str, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reached = 0
    with running(name, directory) as server:
        for _ in range(3):  # until all that can be cached is
            for session in SESSIONS:
                exchange(server.address, session)
        steps = find_reached(steps_of(name), server)
        wait_until(lambda: not server.connections())
        before = count_descriptors()
        threads = set(threading.enumerate())
        for step in steps:
            caplog.clear()
            with raising(step) as raised:
                for session in SESSIONS:
                    exchange(server.address, session)
                    if raised:
                        break
                wait_until(lambda: not server.connections())
            if not raised:
                continue  # the calls of one pass may be fewer than of another
            reached += 1
            message = repr(raised.pop())  # keeping the error itself would keep its frames alive
            assert exchange(server.address, get("small", closes=True)).endswith(b"\r\n\r\nsmall")
            wait_until(lambda: not server.connections())
            wait_until(lambda: count_descriptors() <= before)
            assert set(threading.enumerate()) >= threads, step
            assert len(caplog.records) == 1, (step, caplog.messages)
            assert message in caplog.messages[0]
            assert "\n" not in caplog.text.strip()
    assert reached > 40


def fail(*_args: Any, **_kwargs: Any) -> Any:
    raise UnexpectedError


@pytest.mark.parametrize("name", slow_except(NAMES, DEFAULT, "blocking", "reactor", "proactor"))
@off_main_thread
def test_an_error_before_the_first_byte_is_500_and_later_closes(
    name: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(name, directory) as server:
        with monkeypatch.context() as patch:
            patch.setattr(Site, "_respond", fail)
            response = exchange(server.address, get("small") * 3)
            assert response.startswith(b"HTTP/1.1 500 ")
            assert response.count(b"HTTP/1.1 ") == 1
            assert b"\r\nConnection: close\r\n" in response
            wait_until(lambda: len(server.log) == 1)
            assert server.log.pop()[2:4] == (500, len(response.partition(b"\r\n\r\n")[2]))
        sent = 0
        sendfile = os.sendfile
        reads = dict.fromkeys(
            ("proactor", "proactor with threads", "proactor-aio"),
            (CompletionConnection, "_read_file"),
        )

        def fail_on_second_call(*args: Any) -> int:
            nonlocal sent
            if sent:
                raise UnexpectedError
            sent += sendfile(*args[:-1], 1_000)
            return sent

        def fail_on_third_call(*args: Any, **kwargs: Any) -> Any:
            nonlocal sent
            sent += 1
            return original(*args, **kwargs) if sent < 3 else fail()

        if name in reads:
            original = getattr(*reads[name])
            monkeypatch.setattr(*reads[name], fail_on_third_call)
        else:
            monkeypatch.setattr(os, "sendfile", fail_on_second_call)
        head, _, body = exchange(server.address, get("large")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert 0 < len(body) < LARGE
        wait_until(lambda: len(server.log) == 1)
        (entry,) = server.log
        assert (entry[2], entry[3], entry[5]) == (200, len(body), True)
        wait_until(lambda: not server.connections())


@pytest.mark.parametrize("name", slow_except(NAMES, DEFAULT, "blocking", "reactor", "proactor"))
@off_main_thread
def test_an_error_in_the_sweep_or_in_stopping_delays_no_other_client(
    name: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(name, directory) as server, socket.create_connection(server.address) as client:
        client.settimeout(TIMEOUT)
        client.sendall(b"GET / HT")
        wait_until(lambda: len(server.connections()) == 1)
        with monkeypatch.context() as patch:
            patch.setattr(Deadlines, "expired", fail)
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 500 ")
            with suppress(ConnectionError):
                while client.recv(1 << 16):
                    pass
        assert exchange(server.address, get("small", closes=True)).endswith(b"small")
        other = socket.create_connection(server.address)
        other.sendall(get("small"))
        assert other.recv(1 << 16).endswith(b"small")
        # Until the server has stopped.
        monkeypatch.setattr(H1Connection, "close_after_response", fail)
    other.close()
