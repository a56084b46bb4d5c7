"""What one thread owes to many connections and to its control descriptor."""

import os
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from aserve.filesystem.directory import Directory
from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.transport import socket_connection
from aserve.transport.models.epoll import EpollPoller
from aserve.transport.registry import MODELS
from aserve.transport.socket_connection import SocketConnection

TIMEOUT = 60.0
A_LONG_TIME = 1_000.0
THREADED = [
    name for name, row in MODELS.items() if not (row.uses_event_loop or row.needs_processes)
]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "small").write_bytes(b"small")
    (tmp_path / "large").write_bytes(bytes(16 << 20))
    return tmp_path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@contextmanager
def running(name: str, directory: Path, listener: socket.socket) -> Iterator[Callable[[], bool]]:
    """Run a model; yield a function that sends a control byte and returns whether it stopped."""

    def run_server() -> None:
        server = MODELS[name].create_server(Site.of_files(Directory(directory)), Limits(), None)
        server.run([listener], (control.fileno(),), A_LONG_TIME)

    ours, control = socket.socketpair()
    with ours, control:
        thread = threading.Thread(target=run_server)
        thread.start()

        def stop() -> bool:
            ours.send(b"s")
            thread.join(TIMEOUT)
            return not thread.is_alive()

        yield stop
        if thread.is_alive():
            ours.send(b"ss")
            thread.join()


def connect(listener: socket.socket, target: str) -> socket.socket:
    client = socket.create_connection(listener.getsockname(), TIMEOUT)
    client.sendall(f"GET /{target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return client


@pytest.mark.parametrize("name", THREADED)
def test_second_control_byte_does_not_wait_for_open_responses(
    name: str, directory: Path, listener: socket.socket
) -> None:
    if reason := MODELS[name].unavailable_reason():
        pytest.skip(reason)
    with (
        running(name, directory, listener) as stop,
        connect(listener, "large") as client,
    ):
        client.recv(1)  # and no more, so that the response cannot end
        first = threading.Thread(target=stop)
        first.start()
        assert stop()
        first.join()


def test_select_answers_503_on_a_descriptor_that_it_cannot_poll(
    directory: Path, listener: socket.socket
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1_200:
        pytest.skip("fewer descriptors than select can poll")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as stack, running("select", directory, listener):
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        first = stack.enter_context(connect(listener, "small"))
        assert first.recv(1 << 16).endswith(b"small")
        while (duplicate := os.dup(first.fileno())) < 1_024:
            stack.callback(os.close, duplicate)
        stack.callback(os.close, duplicate)
        second = stack.enter_context(connect(listener, "small"))
        assert second.recv(1 << 16).startswith(b"HTTP/1.1 503 ")
        first.sendall(b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n")
        assert first.recv(1 << 16).endswith(b"small")


def test_fast_sender_has_one_turn_at_a_time(
    directory: Path, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[str] = []
    process_ready = SocketConnection.process_ready

    def record_turn(connection: SocketConnection, *, readable: bool = True) -> bool:
        turns.append(connection.client)
        return process_ready(connection, readable=readable)

    monkeypatch.setattr(SocketConnection, "process_ready", record_turn)
    monkeypatch.setattr(socket_connection, "READ_SIZE", 100)  # so that it takes many turns
    fast = socket.socket()
    fast.bind(("127.0.0.2", 0))
    with fast, ExitStack() as stack:
        fast.connect(listener.getsockname())
        fast.sendall(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" + bytes(20_000))
        other = stack.enter_context(connect(listener, "small"))
        # All requests have arrived before the server accepts.
        stack.enter_context(running("epoll-et", directory, listener))
        assert other.recv(1 << 16).endswith(b"small")
        assert fast.recv(1 << 16).startswith(b"HTTP/1.1 405 ")
        assert turns.count("127.0.0.2") > 200
        assert "127.0.0.1" in turns[:3]


@pytest.mark.parametrize("name", ["epoll", "epoll-et", "multi-reactor"])
def test_a_closed_socket_is_removed_from_epoll_by_the_kernel_alone(
    name: str, directory: Path, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    unregister, unregistered, closed = EpollPoller.unregister, [], []

    def record(poller: EpollPoller, descriptor: int) -> None:
        try:
            os.fstat(descriptor)
        except OSError:  # EBADF, as epoll_ctl would answer
            closed.append(descriptor)
        unregistered.append(descriptor)
        unregister(poller, descriptor)

    monkeypatch.setattr(EpollPoller, "unregister", record)
    with running(name, directory, listener) as stop:
        for _ in range(2):
            with socket.create_connection(listener.getsockname(), TIMEOUT) as client:
                client.sendall(b"GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                while client.recv(65_536):
                    pass
        assert stop()
    assert unregistered  # the listener, which is open
    assert not closed
