"""What every I/O model owes its clients, over real sockets. The default has more tests of its own.

One test for each model and fault; a model's conformance rows are asked in one test, all failures
together, since a server for each row would take minutes.
"""

import os
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import aserve
from aserve.http1.limits import Limits
from aserve.transport.registry import DEFAULT, MODELS
from tests.conformance.rows import ROWS
from tests.conformance.site import build
from tests.conformance.talk import Address, ask, tags_of

PATIENCE = 10.0
OTHERS = [name for name in MODELS if name != DEFAULT]
WHY_NOT = {name: why for name in OTHERS if (why := MODELS[name].unavailable_reason())}
"""What this system does not permit, as containers io_uring, and why."""
LARGE = 8 << 20


@pytest.fixture(params=OTHERS)
def model(request: pytest.FixtureRequest) -> str:
    if why := WHY_NOT.get(request.param):
        pytest.skip(why)
    return str(request.param)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "small").write_bytes(b"small")
    (folder / "large").write_bytes(b"large..." * (LARGE // 8))
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("site"))


def address_of(server: aserve.Server) -> Address:
    place = urlsplit(server.url)
    return Address(str(place.hostname), int(place.port or 0))


@pytest.fixture
def client(model: str, folder: Path) -> Iterator[socket.socket]:
    with (
        aserve.Server(folder, model=model) as server,
        socket.create_connection(address_of(server), PATIENCE) as client,
    ):
        yield client


def read_to_end(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(1 << 16), b""))


def request(target: str, *, closes: bool = False) -> bytes:
    option = "Connection: close\r\n" if closes else ""
    return f"GET /{target} HTTP/1.1\r\nHost: a\r\n{option}\r\n".encode()


def test_large_file_arrives_whole(client: socket.socket) -> None:
    client.sendall(request("large", closes=True))
    _, _, body = read_to_end(client).partition(b"\r\n\r\n")
    assert body == b"large..." * (LARGE // 8)


def test_replies_keep_the_order_of_pipelined_requests(client: socket.socket) -> None:
    client.sendall(request("small") + request("large") + request("none", closes=True))
    replies = read_to_end(client)
    assert replies.startswith(b"HTTP/1.1 200 ")
    assert replies.count(b"HTTP/1.1 200 ") == 2
    assert replies.index(b"large...") > replies.index(b"small")
    assert replies.index(b"HTTP/1.1 404 ") > replies.rindex(b"large...")


def test_what_was_asked_before_a_half_close_is_answered(client: socket.socket) -> None:
    client.sendall(request("small"))
    client.shutdown(socket.SHUT_WR)
    assert read_to_end(client).endswith(b"\r\n\r\nsmall")


def test_one_connection_too_many_is_told_so(model: str, folder: Path) -> None:
    limits = Limits(max_connections=1)
    with (
        aserve.Server(folder, model=model, limits=limits) as server,
        socket.create_connection(address_of(server), PATIENCE) as first,
    ):
        first.sendall(request("small"))
        assert first.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        with socket.create_connection(address_of(server), PATIENCE) as second:
            told = read_to_end(second)
            assert told.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nRetry-After: 1\r\n" in told


@pytest.mark.parametrize("closes", [True, False])
def test_reply_under_way_outlasts_the_order_to_stop(
    model: str, folder: Path, *, closes: bool
) -> None:
    with socket.socket() as client:
        client.settimeout(PATIENCE)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        body: list[bytes] = []
        # A connection that was to persist ends behind its reply and not with the grace.
        with aserve.Server(folder, model=model, grace=600) as server:
            client.connect(address_of(server))
            client.sendall(request("large", closes=closes))
            body.append(client.recv(1))  # it has begun, and cannot have left
            reader = threading.Thread(target=lambda: body.append(read_to_end(client)))
            reader.start()
        reader.join(PATIENCE)
    assert b"".join(body).endswith(b"\r\n\r\n" + b"large..." * (LARGE // 8))


def test_conformance(model: str, root: Path) -> None:
    with aserve.Server(root, model=model) as server:
        address = address_of(server)
        tag_of = tags_of(address, PATIENCE)
        rows = [row for row in ROWS if not (row.waits or row.switched)]
        wrong = {row.name: ask(row, row.ours, address, PATIENCE, tag_of) for row in rows}
    assert {name: faults for name, faults in wrong.items() if faults} == {}


@pytest.fixture(scope="module")
def waited(root: Path) -> Iterator[dict[str, dict[str, Future[list[str]]]]]:
    """What is wrong with the rows that wait: all of them wait at the same time, in every model."""
    rows = [row for row in ROWS if row.waits and not row.switched]
    impatient = Limits(keepalive_timeout=1, header_timeout=1, transfer_timeout=1)
    with ExitStack() as stack, ThreadPoolExecutor(len(rows) * len(OTHERS)) as pool:
        outcomes: dict[str, dict[str, Future[list[str]]]] = {}
        for name in OTHERS:
            if name in WHY_NOT:
                continue
            server = stack.enter_context(aserve.Server(root, model=name, limits=impatient))
            address = address_of(server)
            tag_of = tags_of(address, PATIENCE)
            outcomes[name] = {
                row.name: pool.submit(ask, row, row.ours, address, PATIENCE, tag_of) for row in rows
            }
        for futures in outcomes.values():
            for future in futures.values():
                future.exception()
        yield outcomes


def test_conformance_in_time(model: str, waited: dict[str, dict[str, Future[list[str]]]]) -> None:
    wrong = {name: future.result() for name, future in waited[model].items()}
    assert wrong
    assert {name: faults for name, faults in wrong.items() if faults} == {}


def test_client_that_aborts_costs_nobody_else_anything(model: str, folder: Path) -> None:
    with aserve.Server(folder, model=model) as server:
        with socket.create_connection(address_of(server), PATIENCE) as first:
            first.sendall(request("large"))
            first.recv(1)
            reset = struct.pack("ii", 1, 0)
            first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        with socket.create_connection(address_of(server), PATIENCE) as second:
            second.sendall(request("small", closes=True))
            assert read_to_end(second).endswith(b"\r\n\r\nsmall")


def test_file_that_shrinks_while_it_leaves_ends_the_connection(model: str, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"large..." * (2 * LARGE // 8))
    with aserve.Server(tmp_path, model=model) as server, socket.socket() as client:
        client.settimeout(PATIENCE)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect(address_of(server))
        client.sendall(request("large"))
        client.recv(1)  # it has begun, and what the sockets hold is far from all of it
        os.truncate(tmp_path / "large", 10)
        received = 0
        try:
            while octets := client.recv(1 << 16):
                received += len(octets)
        except ConnectionResetError:
            pass
        assert received < 2 * LARGE
