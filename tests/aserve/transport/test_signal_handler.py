"""Signal-driven I/O by the book: the handler serves, and the main thread does its own work."""

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import aserve
from aserve.filesystem.directory import Directory
from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.transport.models.by_the_book.signal_driven import BookSignalDrivenServer
from aserve.transport.socket_connection import SocketConnection
from tests.main_thread import off_main_thread, run_on_main_thread

TIMEOUT = 10.0
REQUEST = b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(b"content")
    return tmp_path


class ObservedServer(BookSignalDrivenServer):
    """Reports each beat of its main work, and where it was made."""

    def __init__(self, directory: Path) -> None:
        super().__init__(Site.of_files(Directory(directory)), Limits())
        self.beaten = threading.Semaphore(0)

    def _beat(self, seconds: float) -> None:
        super()._beat(seconds)
        self.beaten.release()


Connect = Callable[[], socket.socket]


@contextmanager
def serving(
    server: BookSignalDrivenServer, listener: socket.socket | None = None
) -> Iterator[Connect]:
    """Serve on the main thread until the block ends."""
    ended = threading.Event()
    ours, control = socket.socketpair()
    with ours, control, listener or socket.socket() as listening, ExitStack() as stack:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        address = listening.getsockname()

        def run() -> None:
            try:
                server.run([listening], (control.fileno(),), 1.0)
            finally:
                ended.set()

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection(address, TIMEOUT))

        run_on_main_thread(run)
        try:
            yield connect
        finally:
            ours.send(b"s")
            assert ended.wait(TIMEOUT)


@off_main_thread
def test_every_client_is_served_and_the_main_work_goes_on(directory: Path) -> None:
    server = ObservedServer(directory)
    with serving(server) as connect:
        clients = [connect() for _ in range(32)]
        for _ in range(3):
            for client in clients:
                client.sendall(REQUEST)
            assert all(client.recv(1 << 16).endswith(b"\r\n\r\ncontent") for client in clients)
        while server.beaten.acquire(blocking=False):
            pass
        assert server.beaten.acquire(timeout=TIMEOUT)


@off_main_thread
def test_a_signal_during_the_handler_is_another_round_and_no_second_handler(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process_ready = SocketConnection.process_ready
    depth, depths = 0, set[int]()

    def process_and_signal(connection: SocketConnection, *, readable: bool = True) -> bool:
        nonlocal depth
        depth += 1
        depths.add(depth)
        try:
            signal.raise_signal(signal.SIGIO)  # its handler is called before this returns
            return process_ready(connection, readable=readable)
        finally:
            depth -= 1

    monkeypatch.setattr(SocketConnection, "process_ready", process_and_signal)
    with serving(ObservedServer(directory)) as connect:
        client = connect()
        for _ in range(3):
            client.sendall(REQUEST * 20)
            received = b""
            while received.count(b"content") < 20:
                received += client.recv(1 << 16)
    assert depths == {1}


class FullListener(socket.socket):
    """A listener whose first accept fails for want of descriptors."""

    calls = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.calls += 1
        if self.calls == 1:
            raise OSError(24, "too many open files")
        return super().accept()


@off_main_thread
def test_a_failed_accept_is_retried_later(directory: Path) -> None:
    listener = FullListener()
    with serving(ObservedServer(directory), listener) as connect:
        client = connect()
        client.sendall(REQUEST)
        assert client.recv(1 << 16).endswith(b"content")
        assert listener.calls <= 3  # EMFILE, success and EAGAIN


def test_a_server_in_a_thread_is_refused(directory: Path) -> None:
    with pytest.raises(aserve.SettingsError, match="by_the_book: signal-driven needs the main"):
        aserve.Server(directory, model="signal-driven", by_the_book=True)
