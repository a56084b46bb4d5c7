"""What is the reactor's own: one thread to a connection at a time, and how threads get theirs."""

import errno
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import aserve
from aserve.config.settings import Settings, SettingsError
from aserve.filesystem.directory import Directory
from aserve.handlers.static_site import StaticSite
from aserve.transport.models import reactor
from aserve.transport.socket_connection import SocketConnection
from aserve.transport.worker_threads import WorkerThreads

PATIENCE = 10.0
REQUEST = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a").write_bytes(b"hello")
    return tmp_path


def connect(server: aserve.Server) -> socket.socket:
    place = urlsplit(server.url)
    return socket.create_connection((place.hostname, place.port), PATIENCE)


class Watched:
    """Conversations in which the first turn of the first one waits, and others are noticed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.overlapped = threading.Event()
        self._poll_once = SocketConnection.process_ready
        self._first_line: SocketConnection | None = None
        self._inside: set[SocketConnection] = set()
        watched = self

        def turn(talk: SocketConnection, *, readable: bool = True) -> bool:
            return watched.look(talk, readable=readable)

        monkeypatch.setattr(SocketConnection, "process_ready", turn)

    def look(self, talk: SocketConnection, *, readable: bool) -> bool:
        if talk in self._inside:  # another thread is in the middle of it
            self.overlapped.set()
            self.go_on.set()
        if self.overlapped.is_set():
            talk.abort()  # what nobody reads would be told of for ever, as fast as can be
            return False
        self._inside.add(talk)
        if self._first_line is None:
            self._first_line = talk
            self.entered.set()
            assert self.go_on.wait(PATIENCE)
        try:
            return not self.overlapped.is_set() and self._poll_once(talk, readable=readable)
        finally:
            self._inside.discard(talk)


def test_a_connection_has_one_thread_at_a_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch)
    with (
        aserve.Server(folder, model="reactor", threads=3) as server,
        connect(server) as first,
        connect(server) as second,
    ):
        first.sendall(REQUEST[:10])
        assert watched.entered.wait(PATIENCE)
        first.sendall(REQUEST[10:])  # which epoll would tell of
        for _ in range(3):  # and has been asked since, when these are answered
            second.sendall(REQUEST)
            assert second.recv(1 << 16).endswith(b"hello")
        assert not watched.overlapped.is_set()
        watched.go_on.set()
        assert first.recv(1 << 16).endswith(b"hello")


def test_without_epolloneshot_two_threads_are_in_one_conversation(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch)
    monkeypatch.setattr(reactor.ReactorServer, "oneshot_flag", 0)
    # Two threads that give back one connection may both find it open, and one of them closed.
    monkeypatch.setattr(threading, "excepthook", lambda _args: None)
    before = set(threading.enumerate())
    with aserve.Server(folder, model="reactor", threads=3) as server, connect(server) as first:
        first.sendall(REQUEST[:10])
        # Not read yet, so still there to be told of: the kernel tells again, and again.
        assert watched.overlapped.wait(PATIENCE)
    for thread in set(threading.enumerate()) - before:  # what they raise belongs to this test
        thread.join(2 * PATIENCE)  # who is held up gives up after one


class Workers:
    """Threads that note who did what; "wait" holds one up until `go_on`."""

    def __init__(self, dispatch: str, threads: int = 3) -> None:
        self.go_on, self.last = threading.Event(), threading.Event()
        self.done: dict[str, str] = {}
        self.crew: WorkerThreads[str] = WorkerThreads(threads, dispatch, self._work)

    def _work(self, thing: str) -> None:
        if thing.startswith("wait"):
            assert self.go_on.wait(PATIENCE)
        self.done[thing] = threading.current_thread().name
        if thing == "last":
            self.last.set()


def test_with_one_queue_nobody_waits_for_a_thread_that_is_held_up() -> None:
    workers = Workers("queue", threads=2)
    workers.crew.submit("wait")
    for number in range(10):
        workers.crew.submit(str(number))
    workers.crew.submit("last")
    assert workers.last.wait(PATIENCE)
    assert "wait" not in workers.done
    workers.go_on.set()
    workers.crew.shutdown()
    assert len(workers.done) == 12
    assert len({workers.done[str(number)] for number in range(10)}) == 1


def test_in_turns_each_thread_gets_every_third() -> None:
    workers = Workers("round-robin")
    workers.crew.submit("wait")
    for number in range(1, 9):
        workers.crew.submit(str(number))
    workers.go_on.set()
    workers.crew.shutdown()
    assert {workers.done[str(number)] for number in (3, 6)} == {workers.done["wait"]}
    assert workers.done["1"] != workers.done["2"]
    assert workers.done["1"] == workers.done["4"] == workers.done["7"]


def test_by_chance_every_thread_gets_some() -> None:
    workers = Workers("random")
    for number in range(300):  # that one of three gets none of them: once in 10**52
        workers.crew.submit(str(number))
    workers.crew.shutdown()
    assert len(workers.done) == 300
    assert set(workers.done.values()) == {"worker-0", "worker-1", "worker-2"}


@pytest.mark.parametrize("dispatch", ["queue", "round-robin", "random"])
def test_each_way_serves(dispatch: str, folder: Path) -> None:
    with aserve.Server(folder, model="reactor", dispatch=dispatch, threads=2) as server:
        clients = [connect(server) for _ in range(8)]
        for client in clients:
            client.sendall(REQUEST)
        for client in clients:
            assert client.recv(1 << 16).endswith(b"hello")
            client.close()


def test_without_descriptors_the_listener_is_left_alone_for_a_while(folder: Path) -> None:
    asked = threading.Semaphore(0)
    numbers = iter([errno.EMFILE])

    class Listener(socket.socket):
        def accept(self) -> tuple[socket.socket, object]:
            asked.release()
            if number := next(numbers, 0):
                raise OSError(number, "too many open files")
            return super().accept()

    model = reactor.ReactorServer(StaticSite(Directory(folder)), Settings(folder).limits)
    with Listener() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ours, orders = socket.socketpair()
        thread = threading.Thread(target=model.run, args=([listener], (orders.fileno(),), 1.0))
        thread.start()
        with ours, orders, socket.create_connection(listener.getsockname(), PATIENCE) as client:
            client.sendall(REQUEST)
            assert asked.acquire(timeout=PATIENCE)
            assert client.recv(1 << 16).endswith(b"hello")  # after the next tick
            asked_in_between = 0
            while asked.acquire(blocking=False):
                asked_in_between += 1
            assert asked_in_between == 2  # once with success, once in vain
            ours.send(b"s")
            thread.join(2 * PATIENCE)  # who is held up gives up after one


@pytest.mark.parametrize(
    ("option", "settings"),
    [
        ("--threads", {"threads": 0}),
        ("--threads", {"threads": 513}),
        ("--dispatch", {"dispatch": "x"}),
    ],
)
def test_what_cannot_be_set_is_said(option: str, settings: dict[str, object], folder: Path) -> None:
    with pytest.raises(SettingsError, match=f"^{option}: "):
        Settings(folder, **settings)  # type: ignore[arg-type]
