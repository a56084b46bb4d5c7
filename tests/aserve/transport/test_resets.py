"""Clients that reset their connection disturb no other client and write no log line."""

import errno
import logging
import os
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from aserve.http.messages import Response
from aserve.server.process import _on_loop_error
from aserve.transport.eventloop import response_writer
from aserve.transport.registry import BY_THE_BOOK, DEFAULT, MODELS
from tests.aserve import programs
from tests.aserve.transport.fake_client import FakeClient
from tests.fork_server import BlockingProgram
from tests.marks import slow_except

TIMEOUT = 60.0
NAMES = [name for name, row in MODELS.items() if not row.unavailable_reason()]
FORMS = NAMES + [f"{name} --by-the-book" for name in BY_THE_BOOK]
FORMS += ["proactor --threads 2"] * ("proactor" in NAMES)
RESET = struct.pack("ii", 1, 0)  # l_linger 0: close sends RST, socket(7)


def get(target: str, *, closes: bool = False) -> bytes:
    option = "Connection: close\r\n" if closes else ""
    return f"GET /{target} HTTP/1.1\r\nHost: a\r\n{option}\r\n".encode()


REQUESTS = [
    b"",
    get("small")[:10],
    get("small"),
    get("small", closes=True),
    get("small") * 500,
    get("large") * 3,
    get("none") * 100,
    b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\nsome",
    b"nonsense\r\n\r\n",
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("resets")
    (directory / "small").write_bytes(b"small")
    (directory / "large").write_bytes(bytes(4 << 20))
    return directory


@pytest.fixture(params=slow_except(FORMS, DEFAULT))
def server(
    request: pytest.FixtureRequest, directory: Path
) -> Iterator[tuple[int, BlockingProgram]]:
    options = ("--port", "0", "--model", *request.param.split())
    process = programs.start(directory, *options)
    try:
        assert process.stderr
        banner = [process.stderr.readline() for _ in range(4)]
        yield int(banner[1].rstrip("/\n").rpartition(":")[2]), process
    finally:
        process.close()


def send_and_reset(port: int, data: bytes, read_size: int, more: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as client:
        client.sendall(data)
        if read_size and data.endswith(b"\r\n\r\n"):
            client.recv(read_size)
        try:
            client.sendall(more)
        except ConnectionError:
            return
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def test_resets_disturb_no_other_client(server: tuple[int, BlockingProgram]) -> None:
    port, process = server
    rng = random.Random(1)
    for _ in range(150):
        more = rng.choice((b"", b"", rng.choice(REQUESTS)))
        send_and_reset(port, rng.choice(REQUESTS), rng.choice((0, 1, 60_000)), more)
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as client:
        client.sendall(get("small", closes=True))
        assert b"".join(iter(lambda: client.recv(1 << 16), b"")).endswith(b"\r\n\r\nsmall")
    process.terminate()
    _, errors = process.communicate(timeout=TIMEOUT)
    assert errors == ""
    assert process.returncode == 0


def test_the_loop_logs_internal_errors_but_no_lost_connections(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lost = OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
    with caplog.at_level(logging.WARNING):
        _on_loop_error(
            None, {"message": "Fatal error on transport", "transport": 1, "exception": lost}
        )
        assert caplog.messages == []
        _on_loop_error(None, {"message": "in a callback", "exception": ValueError("x")})
    assert caplog.messages == ["internal error: in a callback: ValueError('x')"]


async def test_a_reset_that_cannot_be_set_leaves_the_transport_its_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(response_writer, "RESET", b"EINVAL")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        client = FakeClient(lambda _: Response(204))
        monkeypatch.setattr(client.transport, "get_extra_info", lambda *_: ours)
        client.connection._reset_when_closed()
        assert ours.send(b"open") == 4
        await client.close()
