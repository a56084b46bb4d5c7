"""What completion is good for: a slow file delays its own connection and no other one."""

import errno
import resource
import select
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

import aserve
from aserve.filesystem.directory import Directory
from aserve.http.messages import Request
from aserve.http1.limits import Limits
from aserve.linux import io_uring
from aserve.linux.io_uring import IoUring, OnComplete
from aserve.linux.posix_aio import COMPLETED
from aserve.policies.site import Site
from aserve.transport.connection_context import ConnectionContext
from aserve.transport.registry import MODELS
from tests.aserve.hanging import TIMEOUT, HangingFiles, Serving, mounted, serving
from tests.conformance.serving import address_of
from tests.marks import slow_except

REQUEST = b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n"
CONTENT = bytes(range(256)) * 2_000  # more than one block


@pytest.fixture(params=["proactor", "proactor-aio"])
def model(request: pytest.FixtureRequest) -> str:
    if reason := MODELS[request.param].unavailable_reason():
        pytest.skip(reason)
    return str(request.param)


@pytest.fixture
def full_signal_queue() -> Iterator[None]:
    """Let no signal be queued (setrlimit(2): RLIMIT_SIGPENDING)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_SIGPENDING)
    resource.setrlimit(resource.RLIMIT_SIGPENDING, (0, hard))
    yield
    resource.setrlimit(resource.RLIMIT_SIGPENDING, (soft, hard))


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[HangingFiles]:
    for directory in ("site/far", "source"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "site/near.txt").write_bytes(b"near")
    (tmp_path / "source/far.bin").write_bytes(CONTENT)
    with mounted(tmp_path / "source", tmp_path / "site/far") as files:
        yield files


@pytest.fixture
def server(model: str, hanging: HangingFiles, tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "site", model=model) as server:
        yield server


def send_request(server: Serving, target: str) -> HTTPConnection:
    connection = HTTPConnection(server.host, server.port, timeout=TIMEOUT)
    connection.request("GET", target)
    return connection


@pytest.mark.parametrize(
    "beyond", slow_except([0, 300_000], 300_000), ids=["before the head", "while it is sent"]
)
def test_others_are_served_while_a_read_hangs(
    server: Serving, hanging: HangingFiles, beyond: int
) -> None:
    hanging.hold("READ", "far.bin", beyond)
    far = send_request(server, "/far/far.bin")
    assert hanging.reached() == [("READ", "far.bin")]
    for _ in range(2):
        near = send_request(server, "/near.txt")
        assert near.getresponse().read() == b"near"
        near.close()
    hanging.release()
    assert far.getresponse().read() == CONTENT
    far.close()
    assert server.stop() == (0, "")


def test_client_that_disconnects_while_a_read_hangs_leaves_nothing_open(
    server: Serving, hanging: HangingFiles
) -> None:
    hanging.hold("READ", "far.bin")
    far = send_request(server, "/far/far.bin")
    hanging.reached()
    far.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    far.close()
    near = send_request(server, "/near.txt")
    assert near.getresponse().read() == b"near"
    near.close()
    hanging.release()
    hanging.settle()  # all open files have been closed
    assert server.stop() == (0, "")


class BusyWorkers:
    """Holds each request whose response is being made, until release."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.release = threading.Semaphore(0), threading.Event()
        handle = ConnectionContext.handle

        def wait_and_handle(context: ConnectionContext, request: Request, *more: Any) -> Any:
            if not request.error:
                self.entered.release()
                assert self.release.wait(TIMEOUT)
            return handle(context, request, *more)

        monkeypatch.setattr(ConnectionContext, "handle", wait_and_handle)


def connect(server: aserve.Server, stack: ExitStack) -> socket.socket:
    client = stack.enter_context(socket.create_connection(address_of(server), TIMEOUT))
    client.settimeout(TIMEOUT)
    return client


def test_a_request_beyond_a_full_queue_gets_503(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"content")
    workers = BusyWorkers(monkeypatch)
    with aserve.Server(tmp_path, model=model, threads=1, queue=1) as server, ExitStack() as stack:
        first, second, third = (connect(server, stack) for _ in range(3))
        first.sendall(REQUEST)
        assert workers.entered.acquire(timeout=TIMEOUT)
        for client in (second, third):  # one of them waits, whichever is complete first
            client.sendall(REQUEST)
        rejected = select.select([second, third], [], [], TIMEOUT)[0][0]
        response = rejected.recv(1 << 16)
        workers.release.set()
        waiting = third if rejected is second else second
        assert waiting.recv(1 << 16).endswith(b"content")
        assert first.recv(1 << 16).endswith(b"content")
    assert response.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 1\r\n" in response


def test_workers_handle_requests_at_the_same_time(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"content")
    monkeypatch.setattr(io_uring, "_abandoned", [])
    workers = BusyWorkers(monkeypatch)
    with aserve.Server(tmp_path, model=model, threads=3) as server, ExitStack() as stack:
        clients = [connect(server, stack) for _ in range(3)]
        for client in clients:
            client.sendall(REQUEST)
        for _ in clients:
            assert workers.entered.acquire(timeout=TIMEOUT)
        workers.release.set()
        assert all(client.recv(1 << 16).endswith(b"content") for client in clients)
    assert not io_uring._abandoned  # nothing was pending in the ring when it was closed


def test_an_order_that_arrives_while_the_ring_is_closed_leaves_nothing_pending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason := MODELS["proactor"].unavailable_reason():
        pytest.skip(reason)
    ours, control = socket.socketpair()
    close = IoUring.close

    def order_and_close(ring: IoUring) -> None:
        ours.send(b"s")  # as a second Ctrl-C does
        close(ring)

    monkeypatch.setattr(io_uring, "_abandoned", [])
    monkeypatch.setattr(IoUring, "close", order_and_close)
    site = Site.of_files(Directory(tmp_path))
    with ours, control, socket.create_server(("127.0.0.1", 0)) as listener:
        ours.send(b"s")
        MODELS["proactor"].create_server(site, Limits()).run([listener], (control.fileno(),), 0.0)
    assert not io_uring._abandoned


def test_lost_signals_lose_no_request(tmp_path: Path, full_signal_queue: None) -> None:
    if reason := MODELS["proactor-aio"].unavailable_reason():
        pytest.skip(reason)
    (tmp_path / "file").write_bytes(b"content")
    with aserve.Server(tmp_path, model="proactor-aio") as server, ExitStack() as stack:
        clients = [connect(server, stack) for _ in range(8)]
        for _ in range(3):
            for client in clients:
                client.sendall(REQUEST)
            assert all(client.recv(1 << 16).endswith(b"content") for client in clients)


def test_a_thread_that_takes_the_signal_is_an_error(tmp_path: Path) -> None:
    if reason := MODELS["proactor-aio"].unavailable_reason():
        pytest.skip(reason)
    ready, done = threading.Event(), threading.Event()

    def accept_signal() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (COMPLETED,))
        ready.set()
        done.wait(TIMEOUT)

    thread = threading.Thread(target=accept_signal)
    thread.start()
    assert ready.wait(TIMEOUT)
    try:
        with pytest.raises(aserve.SettingsError, match=f"thread {thread.native_id} of this prog"):
            aserve.Server(tmp_path, model="proactor-aio").start()
    finally:
        done.set()
        thread.join()


def test_a_second_server_on_posix_aio_is_an_error(tmp_path: Path) -> None:
    if reason := MODELS["proactor-aio"].unavailable_reason():
        pytest.skip(reason)
    with (
        aserve.Server(tmp_path, model="proactor-aio"),
        pytest.raises(OSError, match="in use by another server of this process"),
    ):
        aserve.Server(tmp_path, model="proactor-aio").start()


def test_failed_accept_is_retried_at_the_next_tick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason := MODELS["proactor"].unavailable_reason():
        pytest.skip(reason)
    accept, calls = IoUring.accept, 0

    def fail_first(ring: IoUring, listener: int, on_complete: OnComplete) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            on_complete(-errno.EMFILE)
        else:
            accept(ring, listener, on_complete)

    monkeypatch.setattr(IoUring, "accept", fail_first)
    (tmp_path / "file").write_bytes(b"content")
    with aserve.Server(tmp_path, model="proactor", host="127.0.0.1") as server:
        host, port = server.url.removeprefix("http://").rstrip("/").split(":")
        client = HTTPConnection(host, int(port), timeout=TIMEOUT)
        client.request("GET", "/file")
        assert client.getresponse().read() == b"content"
        client.close()
    assert calls == 2
