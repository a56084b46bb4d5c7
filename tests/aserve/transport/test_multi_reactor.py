"""The multi-reactor: one thread accepts, and each connection stays with one of the others."""

import socket
import threading
from collections import defaultdict
from pathlib import Path

import pytest

import aserve
from aserve.filesystem.directory import Directory
from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.transport.models.multi_reactor import MultiReactorServer
from aserve.transport.socket_connection import SocketConnection
from tests.conformance.serving import address_of

TIMEOUT = 10.0
REQUEST = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "a").write_bytes(b"hello")
    return tmp_path


def test_each_connection_stays_with_the_thread_whose_turn_it_was(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: defaultdict[str, set[str]] = defaultdict(set)
    process_ready = SocketConnection.process_ready

    def record(connection: SocketConnection, *, readable: bool = True) -> bool:
        port = str(connection.socket.getpeername()[1])
        threads[port].add(threading.current_thread().name)
        return process_ready(connection, readable=readable)

    monkeypatch.setattr(SocketConnection, "process_ready", record)
    clients = []
    with aserve.Server(directory, model="multi-reactor", threads=3) as server:
        for _ in range(6):
            client = socket.create_connection(address_of(server), TIMEOUT)
            client.sendall(REQUEST)
            assert client.recv(1 << 16).endswith(b"hello")  # accepted before the next one comes
            clients.append(client)
        for client in clients:
            client.sendall(REQUEST)
            assert client.recv(1 << 16).endswith(b"hello")
        ports = [str(client.getsockname()[1]) for client in clients]
        for client in clients:
            client.close()
    names = [threads[port] for port in ports]
    assert names == [{f"sub-reactor-{number % 3}"} for number in range(6)]


def test_a_start_that_fails_ends_the_threads_that_were_started(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def start_two(thread: threading.Thread) -> None:
        if thread.name.startswith("sub-reactor"):
            if len(started) == 2:
                raise RuntimeError("can't start new thread")
            started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_two)
    server = MultiReactorServer(Site.of_files(Directory(directory)), Limits(), None, 3)
    with pytest.raises(RuntimeError, match="new thread"):
        server.run((), (), 1.0)
    assert len(started) == 2
    assert not any(thread.is_alive() for thread in started)
