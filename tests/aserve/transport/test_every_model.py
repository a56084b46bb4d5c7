"""What every I/O model must do, over real sockets. The default model has more tests of its own.

tests/conformance/test_models.py asks them the rows of the conformance table.
"""

import gzip
import os
import random
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from aserve.config.server_settings import ServerSettings
from aserve.http1.limits import Limits
from aserve.transport.registry import BY_THE_BOOK, DEFAULT, MODELS
from tests.conformance.serving import ONE_AT_A_TIME, running
from tests.marks import slow_except

TIMEOUT = 60.0
OTHERS = [name for name in MODELS if name != DEFAULT]
SETTINGS = (
    {name: {"model": name} for name in OTHERS}
    | {f"{name} by the book": {"model": name, "by_the_book": True} for name in BY_THE_BOOK}
    | {"proactor with threads": {"model": "proactor", "threads": 2}}
)
UNAVAILABLE = {name: reason for name in OTHERS if (reason := MODELS[name].unavailable_reason())}
"""The models that this system does not permit, and why. Containers often forbid io_uring."""
SEVERAL_AT_A_TIME = [name for name in SETTINGS if name not in ONE_AT_A_TIME]
LARGE = 8 << 20
WORDS = random.Random(1).randbytes(100_000).hex().encode()  # more than 64 KiB when compressed


QUICK = (
    *("asyncio", "blocking", "epoll", "fork", "iterative", "multi-reactor", "proactor-aio"),
    *("reactor", "signal-driven", "simulated-proactor by the book"),
)
"""A model of each kind."""


@pytest.fixture(params=slow_except(SETTINGS, *QUICK))
def model(request: pytest.FixtureRequest) -> ServerSettings:
    settings = SETTINGS[request.param]
    if reason := UNAVAILABLE.get(str(settings["model"])):
        pytest.skip(reason)
    return cast("ServerSettings", settings)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    (directory / "small").write_bytes(b"small")
    (directory / "large").write_bytes(b"large..." * (LARGE // 8))
    (directory / "words.txt").write_bytes(WORDS)
    (directory / "page.txt").write_bytes(WORDS[:4_000])
    return directory


@pytest.fixture
def client(model: ServerSettings, directory: Path) -> Iterator[socket.socket]:
    with (
        running(directory, **model) as address,
        socket.create_connection(address, TIMEOUT) as client,
    ):
        yield client


def read_all(client: socket.socket) -> bytes:
    # Where it was to hold up the server, its buffer takes a packet at a time.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    return b"".join(iter(lambda: client.recv(1 << 16), b""))


def request(target: str, *, closes: bool = False) -> bytes:
    option = "Connection: close\r\n" if closes else ""
    return f"GET /{target} HTTP/1.1\r\nHost: a\r\n{option}\r\n".encode()


def test_large_file_arrives_whole(client: socket.socket) -> None:
    client.sendall(request("large", closes=True))
    _, _, body = read_all(client).partition(b"\r\n\r\n")
    assert body == b"large..." * (LARGE // 8)


def test_files_are_compressed(client: socket.socket) -> None:
    """The first time by what has time for it, and then from where it is stored."""
    targets = ("words.txt", "words.txt", "page.txt", "page.txt")
    head = "HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n"
    requests = "\r\n".join(f"GET /{target} {head}" for target in targets)
    client.sendall(f"{requests}Connection: close\r\n\r\n".encode())
    rest, contents = read_all(client), []
    while rest:
        lines, _, rest = rest.partition(b"\r\n\r\n")
        assert b"\r\nContent-Encoding: gzip\r\n" in lines
        length = int(lines.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        contents.append(gzip.decompress(rest[:length]))
        rest = rest[length:]
    assert contents == [WORDS, WORDS, WORDS[:4_000], WORDS[:4_000]]


def test_responses_keep_the_order_of_pipelined_requests(client: socket.socket) -> None:
    client.sendall(request("small") + request("large") + request("none", closes=True))
    responses = read_all(client)
    assert responses.startswith(b"HTTP/1.1 200 ")
    assert responses.count(b"HTTP/1.1 200 ") == 2
    assert responses.index(b"large...") > responses.index(b"small")
    assert responses.index(b"HTTP/1.1 404 ") > responses.rindex(b"large...")


def test_a_request_before_a_half_close_is_answered(client: socket.socket) -> None:
    client.sendall(request("small"))
    client.shutdown(socket.SHUT_WR)
    assert read_all(client).endswith(b"\r\n\r\nsmall")


# In the others, all but one client wait in the queue of the kernel.
@pytest.mark.parametrize("model", SEVERAL_AT_A_TIME, indirect=True)
def test_one_connection_too_many_gets_503(model: ServerSettings, directory: Path) -> None:
    limits = Limits(max_connections=1)
    with (
        running(directory, **model, limits=limits) as address,
        socket.create_connection(address, TIMEOUT) as first,
    ):
        first.sendall(request("small"))
        assert first.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        with socket.create_connection(address, TIMEOUT) as second:
            response = read_all(second)
            assert response.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nRetry-After: 1\r\n" in response


@pytest.mark.parametrize("closes", slow_except([True, False], False))
def test_open_response_is_completed_when_the_server_stops(
    model: ServerSettings, directory: Path, *, closes: bool
) -> None:
    with socket.socket() as client:
        client.settimeout(TIMEOUT)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        body: list[bytes] = []
        # A keep-alive connection closes after its response, not at the end of the grace period.
        with running(directory, **model, grace=600) as address:
            client.connect(address)
            client.sendall(request("large", closes=closes))
            body.append(client.recv(1))  # it has begun, and cannot be complete
            reader = threading.Thread(target=lambda: body.append(read_all(client)))
            reader.start()
        reader.join(TIMEOUT)
    assert b"".join(body).endswith(b"\r\n\r\n" + b"large..." * (LARGE // 8))


def test_client_that_aborts_disturbs_no_other_client(
    model: ServerSettings, directory: Path
) -> None:
    with running(directory, **model) as address:
        with socket.create_connection(address, TIMEOUT) as first:
            first.sendall(request("large"))
            first.recv(1)
            reset = struct.pack("ii", 1, 0)
            first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        with socket.create_connection(address, TIMEOUT) as second:
            second.sendall(request("small", closes=True))
            assert read_all(second).endswith(b"\r\n\r\nsmall")


def test_file_that_shrinks_while_it_is_sent_closes_the_connection(
    model: ServerSettings, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(b"large..." * (2 * LARGE // 8))
    with running(tmp_path, **model) as address, socket.socket() as client:
        client.settimeout(TIMEOUT)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect(address)
        client.sendall(request("large"))
        client.recv(1)  # it has begun, and the sockets buffer only a small part of it
        os.truncate(tmp_path / "large", 10)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        received = 0
        try:
            while data := client.recv(1 << 16):
                received += len(data)
        except ConnectionResetError:
            pass
        assert received < 2 * LARGE
