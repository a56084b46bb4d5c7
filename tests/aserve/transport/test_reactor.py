"""The reactor: one thread at a time for each connection, and how jobs are dispatched."""

import errno
import select
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import aserve
from aserve.config.settings import Settings, SettingsError
from aserve.filesystem.directory import Directory
from aserve.policies.site import Site
from aserve.transport.models import reactor
from aserve.transport.socket_connection import SocketConnection
from aserve.transport.worker_threads import WorkerThreads

TIMEOUT = 10.0
REQUEST = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "a").write_bytes(b"hello")
    return tmp_path


def connect(server: aserve.Server) -> socket.socket:
    parts = urlsplit(server.url)
    return socket.create_connection((parts.hostname, parts.port), TIMEOUT)


class TurnMonitor:
    """Blocks the first turn of the first connection, and detects a second thread in it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.resume = threading.Event(), threading.Event()
        self.overlapped = threading.Event()
        self._process_ready = SocketConnection.process_ready
        self._first_connection: SocketConnection | None = None
        self._active: set[SocketConnection] = set()
        monitor = self

        def process_ready(connection: SocketConnection, *, readable: bool = True) -> bool:
            return monitor.run_turn(connection, readable=readable)

        monkeypatch.setattr(SocketConnection, "process_ready", process_ready)

    def run_turn(self, connection: SocketConnection, *, readable: bool) -> bool:
        if connection in self._active:  # another thread is processing it
            self.overlapped.set()
            self.resume.set()
        if self.overlapped.is_set():
            connection.abort()  # or the kernel would report its unread bytes forever
            return False
        self._active.add(connection)
        if self._first_connection is None:
            self._first_connection = connection
            self.entered.set()
            assert self.resume.wait(TIMEOUT)
        try:
            return not self.overlapped.is_set() and self._process_ready(
                connection, readable=readable
            )
        finally:
            self._active.discard(connection)


def test_a_connection_has_one_thread_at_a_time(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = TurnMonitor(monkeypatch)
    with (
        aserve.Server(directory, model="reactor", threads=3) as server,
        connect(server) as first,
        connect(server) as second,
    ):
        first.sendall(REQUEST[:10])
        assert monitor.entered.wait(TIMEOUT)
        first.sendall(REQUEST[10:])  # which epoll would report
        for _ in range(3):  # epoll_wait was called again before these are answered
            second.sendall(REQUEST)
            assert second.recv(1 << 16).endswith(b"hello")
        assert not monitor.overlapped.is_set()
        monitor.resume.set()
        assert first.recv(1 << 16).endswith(b"hello")


def test_without_epolloneshot_two_threads_process_one_connection(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = TurnMonitor(monkeypatch)
    monkeypatch.setattr(reactor.ReactorServer, "oneshot_flag", 0)
    # Two threads that release one connection may both find it open, and one of them fails.
    monkeypatch.setattr(threading, "excepthook", lambda _args: None)
    before = set(threading.enumerate())
    with aserve.Server(directory, model="reactor", threads=3) as server, connect(server) as first:
        first.sendall(REQUEST[:10])
        # The bytes are not read yet, so the kernel reports them again and again.
        assert monitor.overlapped.wait(TIMEOUT)
    for thread in set(threading.enumerate()) - before:  # their exceptions belong to this test
        thread.join(2 * TIMEOUT)  # a blocked thread gives up after one


class RecordingWorkers:
    """Worker threads that record which one did each job; "wait" blocks one until resume is set."""

    def __init__(self, dispatch: str, threads: int = 3) -> None:
        self.resume, self.last = threading.Event(), threading.Event()
        self.done: dict[str, str] = {}
        self.threads: WorkerThreads[str] = WorkerThreads(threads, dispatch, self._work)

    def _work(self, job: str) -> None:
        if job.startswith("wait"):
            assert self.resume.wait(TIMEOUT)
        self.done[job] = threading.current_thread().name
        if job == "last":
            self.last.set()


def test_with_one_queue_no_job_waits_for_a_blocked_thread() -> None:
    workers = RecordingWorkers("queue", threads=2)
    workers.threads.submit("wait")
    for number in range(10):
        workers.threads.submit(str(number))
    workers.threads.submit("last")
    assert workers.last.wait(TIMEOUT)
    assert "wait" not in workers.done
    workers.resume.set()
    workers.threads.shutdown()
    assert len(workers.done) == 12
    assert len({workers.done[str(number)] for number in range(10)}) == 1


def test_round_robin_gives_each_thread_every_third_job() -> None:
    workers = RecordingWorkers("round-robin")
    workers.threads.submit("wait")
    for number in range(1, 9):
        workers.threads.submit(str(number))
    workers.resume.set()
    workers.threads.shutdown()
    assert {workers.done[str(number)] for number in (3, 6)} == {workers.done["wait"]}
    assert workers.done["1"] != workers.done["2"]
    assert workers.done["1"] == workers.done["4"] == workers.done["7"]


def test_least_loaded_avoids_the_thread_with_more_jobs() -> None:
    workers = RecordingWorkers("least-loaded")
    workers.threads.submit("wait")  # on one thread, which stays in it
    for number in range(10):  # the others have one job at a time, or one more than that
        workers.threads.submit(str(number))
    workers.threads.submit("last")
    assert workers.last.wait(TIMEOUT)
    busy = {f"worker-{number}" for number in range(3)} - set(workers.done.values())
    workers.resume.set()
    workers.threads.shutdown()
    assert len(workers.done) == 12
    assert workers.done["wait"] in busy or len(busy) == 0


def test_as_many_jobs_wait_as_may() -> None:
    taken, resume = threading.Event(), threading.Event()

    def work(_job: int) -> None:
        taken.set()
        assert resume.wait(TIMEOUT)

    threads: WorkerThreads[int] = WorkerThreads(1, "queue", work, max_waiting=2)
    threads.submit(1)
    assert taken.wait(TIMEOUT)
    was_full = []
    for number in (2, 3):
        was_full.append(threads.is_full)
        threads.submit(number)
    was_full.append(threads.is_full)
    resume.set()
    threads.shutdown()
    assert was_full == [False, False, True]


def test_a_request_beyond_a_full_queue_gets_503(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = TurnMonitor(monkeypatch)
    with (
        aserve.Server(directory, model="reactor", threads=1, queue=1) as server,
        connect(server) as first,
        connect(server) as second,
        connect(server) as third,
    ):
        first.sendall(REQUEST)
        assert monitor.entered.wait(TIMEOUT)
        for client in (second, third):  # one of them waits, whichever epoll reports first
            client.sendall(REQUEST)
        ready, _, _ = select.select([second, third], [], [], TIMEOUT)
        rejected = ready[0]
        response = rejected.recv(1 << 16)
        monitor.resume.set()
        waiting = third if rejected is second else second
        assert waiting.recv(1 << 16).endswith(b"hello")
        assert first.recv(1 << 16).endswith(b"hello")
    assert response.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 1\r\n" in response


def test_random_gives_every_thread_some_jobs() -> None:
    workers = RecordingWorkers("random")
    for number in range(300):  # probability that one thread gets none: 10**-52
        workers.threads.submit(str(number))
    workers.threads.shutdown()
    assert len(workers.done) == 300
    assert set(workers.done.values()) == {"worker-0", "worker-1", "worker-2"}


@pytest.mark.parametrize("dispatch", ["queue", "round-robin", "random"])
def test_each_dispatch_serves(dispatch: str, directory: Path) -> None:
    with aserve.Server(directory, model="reactor", dispatch=dispatch, threads=2) as server:
        clients = [connect(server) for _ in range(8)]
        for client in clients:
            client.sendall(REQUEST)
        for client in clients:
            assert client.recv(1 << 16).endswith(b"hello")
            client.close()


def test_accept_is_not_retried_at_once_when_descriptors_run_out(directory: Path) -> None:
    accept_calls = threading.Semaphore(0)
    errors = iter([errno.EMFILE])

    class FailingListener(socket.socket):
        def accept(self) -> tuple[socket.socket, object]:
            accept_calls.release()
            if number := next(errors, 0):
                raise OSError(number, "too many open files")
            return super().accept()

    server = reactor.ReactorServer(Site.of_files(Directory(directory)), Settings(directory).limits)
    with FailingListener() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ours, control = socket.socketpair()
        thread = threading.Thread(target=server.run, args=([listener], (control.fileno(),), 1.0))
        thread.start()
        with ours, control, socket.create_connection(listener.getsockname(), TIMEOUT) as client:
            client.sendall(REQUEST)
            assert accept_calls.acquire(timeout=TIMEOUT)
            assert client.recv(1 << 16).endswith(b"hello")  # after the next tick
            calls = 0
            while accept_calls.acquire(blocking=False):
                calls += 1
            assert calls == 2  # a success and an EAGAIN
            ours.send(b"s")
            thread.join(2 * TIMEOUT)  # a blocked thread gives up after one


@pytest.mark.parametrize(
    ("setting", "settings"),
    [
        ("threads", {"threads": 0}),
        ("threads", {"threads": 513}),
        ("dispatch", {"dispatch": "x"}),
    ],
)
def test_invalid_settings_are_reported(
    setting: str, settings: dict[str, object], directory: Path
) -> None:
    with pytest.raises(SettingsError, match=f"^{setting}: "):
        Settings(directory, **settings)  # type: ignore[arg-type]
