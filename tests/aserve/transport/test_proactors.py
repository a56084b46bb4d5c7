"""What completion is good for: a slow file delays its own connection and no other one."""

import errno
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

import aserve
from aserve.linux.io_uring import IoUring, OnComplete
from aserve.transport.registry import MODELS
from tests.aserve.hanging import TIMEOUT, HangingFiles, Serving, mounted, serving
from tests.marks import slow_except

CONTENT = bytes(range(256)) * 2_000  # more than one block


@pytest.fixture(params=["proactor", "proactor-aio"])
def model(request: pytest.FixtureRequest) -> str:
    if reason := MODELS[request.param].unavailable_reason():
        pytest.skip(reason)
    return str(request.param)


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
