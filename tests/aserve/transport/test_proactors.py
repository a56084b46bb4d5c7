"""What completion is for: a file that takes long holds its own connection and nobody else's."""

import errno
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

import aserve
from aserve.linux.io_uring import IoUring, OnComplete
from aserve.transport.registry import MODELS
from tests.aserve.hanging import PATIENCE, HangingFiles, Serving, mounted, serving

OCTETS = bytes(range(256)) * 2_000  # more than is fetched at once


@pytest.fixture(params=["proactor", "proactor-aio"])
def model(request: pytest.FixtureRequest) -> str:
    if why := MODELS[request.param].unavailable_reason():
        pytest.skip(why)
    return str(request.param)


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[HangingFiles]:
    for folder in ("site/far", "source"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "site/near.txt").write_bytes(b"near")
    (tmp_path / "source/far.bin").write_bytes(OCTETS)
    with mounted(tmp_path / "source", tmp_path / "site/far") as files:
        yield files


@pytest.fixture
def server(model: str, hanging: HangingFiles, tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "site", model=model) as server:
        yield server


def asking(server: Serving, target: str) -> HTTPConnection:
    connection = HTTPConnection(server.host, server.port, timeout=PATIENCE)
    connection.request("GET", target)
    return connection


@pytest.mark.parametrize("beyond", [0, 300_000], ids=["before the head", "while it leaves"])
def test_others_are_served_while_a_read_hangs(
    server: Serving, hanging: HangingFiles, beyond: int
) -> None:
    hanging.hold("READ", "far.bin", beyond)
    far = asking(server, "/far/far.bin")
    assert hanging.reached() == [("READ", "far.bin")]
    for _ in range(2):
        near = asking(server, "/near.txt")
        assert near.getresponse().read() == b"near"
        near.close()
    hanging.release()
    assert far.getresponse().read() == OCTETS
    far.close()
    assert server.stop() == (0, "")


def test_client_that_goes_while_a_read_hangs_leaves_nothing_behind(
    server: Serving, hanging: HangingFiles
) -> None:
    hanging.hold("READ", "far.bin")
    far = asking(server, "/far/far.bin")
    hanging.reached()
    far.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    far.close()
    near = asking(server, "/near.txt")
    assert near.getresponse().read() == b"near"
    near.close()
    hanging.release()
    hanging.settle()  # every file that was opened has been closed
    assert server.stop() == (0, "")


def test_ring_without_room_is_asked_again_in_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why := MODELS["proactor"].unavailable_reason():
        pytest.skip(why)
    accept, asked = IoUring.accept, 0

    def full_at_first(ring: IoUring, listener: int, done: OnComplete) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            done(-errno.EMFILE)
        else:
            accept(ring, listener, done)

    monkeypatch.setattr(IoUring, "accept", full_at_first)
    (tmp_path / "file").write_bytes(b"octets")
    with aserve.Server(tmp_path, model="proactor", host="127.0.0.1") as server:
        host, port = server.url.removeprefix("http://").rstrip("/").split(":")
        client = HTTPConnection(host, int(port), timeout=PATIENCE)
        client.request("GET", "/file")
        assert client.getresponse().read() == b"octets"
        client.close()
    assert asked == 2
