"""What one thread owes to many connections, and to whoever gives it orders."""

import os
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from aserve.filesystem.directory import Directory
from aserve.handlers.static_site import StaticSite
from aserve.http1.limits import Limits
from aserve.transport import socket_connection
from aserve.transport.registry import MODELS
from aserve.transport.socket_connection import SocketConnection

PATIENCE = 10.0
A_LONG_TIME = 1_000.0
THREADED = [name for name, row in MODELS.items() if not row.uses_event_loop]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "small").write_bytes(b"small")
    (tmp_path / "large").write_bytes(bytes(16 << 20))
    return tmp_path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@contextmanager
def running(name: str, folder: Path, listener: socket.socket) -> Iterator[Callable[[], bool]]:
    """Run a model; what is yielded gives it an order, and tells whether it has ended by that."""

    def live() -> None:
        model = MODELS[name].create_server(StaticSite(Directory(folder)), Limits(), None)
        model.run([listener], (orders.fileno(),), A_LONG_TIME)

    ours, orders = socket.socketpair()
    with ours, orders:
        thread = threading.Thread(target=live)
        thread.start()

        def order() -> bool:
            ours.send(b"s")
            thread.join(PATIENCE)
            return not thread.is_alive()

        yield order
        if thread.is_alive():
            ours.send(b"ss")
            thread.join()


def connect(listener: socket.socket, target: str) -> socket.socket:
    client = socket.create_connection(listener.getsockname(), PATIENCE)
    client.sendall(f"GET /{target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return client


@pytest.mark.parametrize("name", THREADED)
def test_second_order_does_not_wait_for_replies_under_way(
    name: str, folder: Path, listener: socket.socket
) -> None:
    if why := MODELS[name].unavailable_reason():
        pytest.skip(why)
    with (
        running(name, folder, listener) as order,
        connect(listener, "large") as client,
    ):
        client.recv(1)  # and no more: the reply cannot end
        first = threading.Thread(target=order)
        first.start()
        assert order()
        first.join()


def test_select_tells_a_connection_that_it_cannot_watch(
    folder: Path, listener: socket.socket
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1_200:
        pytest.skip("fewer descriptors than select can watch")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as stack, running("select", folder, listener):
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        first = stack.enter_context(connect(listener, "small"))
        assert first.recv(1 << 16).endswith(b"small")
        while (taken := os.dup(first.fileno())) < 1_024:
            stack.callback(os.close, taken)
        stack.callback(os.close, taken)
        second = stack.enter_context(connect(listener, "small"))
        assert second.recv(1 << 16).startswith(b"HTTP/1.1 503 ")
        first.sendall(b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n")
        assert first.recv(1 << 16).endswith(b"small")


def test_fast_sender_has_its_turn_and_no_more(
    folder: Path, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[str] = []
    turn = SocketConnection.process_ready

    def noted(talk: SocketConnection, *, readable: bool = True) -> bool:
        turns.append(talk.client)
        return turn(talk, readable=readable)

    monkeypatch.setattr(SocketConnection, "process_ready", noted)
    monkeypatch.setattr(
        socket_connection, "_READ_SIZE", 100
    )  # so that there are many turns to have
    fast = socket.socket()
    fast.bind(("127.0.0.2", 0))
    with fast, ExitStack() as stack:
        fast.connect(listener.getsockname())
        fast.sendall(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" + bytes(20_000))
        other = stack.enter_context(connect(listener, "small"))
        # All of it has arrived before anybody is let in.
        stack.enter_context(running("epoll-et", folder, listener))
        assert other.recv(1 << 16).endswith(b"small")
        assert fast.recv(1 << 16).startswith(b"HTTP/1.1 405 ")
        assert turns.count("127.0.0.2") > 200
        assert "127.0.0.1" in turns[:3]
