"""Descriptors are what is short: they are counted, shared out, and kept files given up first."""

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from aserve.http1.limits import Limits
from aserve.transport.connection_limiter import (
    ConnectionLimiter,
    Decision,
    ProcessLimits,
    process_limits,
)
from aserve.transport.registry import DEFAULT, MODELS

PATIENCE = 20.0
NAMES = [name for name, row in MODELS.items() if not row.unavailable_reason()]
MANY, FEW = "127.0.0.2", "127.0.0.3"
SMALL = b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n"
LARGE = SMALL.replace(b"small", b"large")


class Guest:
    def __init__(self, client: str) -> None:
        self.client = client


class Files:
    """Files that are kept open, and how many were given up."""

    max_open_files = 8

    def __init__(self, open_files: int) -> None:
        self.open_files = open_files
        self.released = 0

    def release_descriptors(self, count: int) -> int:
        count = min(count, self.open_files)
        self.open_files -= count
        self.released += count
        return count


def test_a_file_counts_beside_its_connection() -> None:
    admissions: ConnectionLimiter[Guest] = ConnectionLimiter(ProcessLimits(10, 10, 10, 10))
    guests = [Guest("a") for _ in range(6)]
    assert all(admissions.admit(guest) is Decision.ACCEPT for guest in guests)
    assert [admissions.reserve_descriptors(guest, 1) for guest in guests] == [True] * 4 + [
        False
    ] * 2
    assert admissions.admit(Guest("b")) is Decision.REJECT
    admissions.release_descriptors(guests[0])
    assert admissions.reserve_descriptors(guests[5], 1)
    admissions.remove(guests[1])
    assert admissions.admit(Guest("b")) is Decision.ACCEPT
    admissions.remove(guests[2])
    admissions.remove(guests[2])


def test_no_address_has_more_than_its_share_of_descriptors() -> None:
    admissions: ConnectionLimiter[Guest] = ConnectionLimiter(ProcessLimits(12, 9, 12, 9))
    guests = [Guest("a") for _ in range(6)]
    assert all(admissions.admit(guest) is Decision.ACCEPT for guest in guests)
    assert [admissions.reserve_descriptors(guest, 1) for guest in guests] == [True] * 3 + [
        False
    ] * 3
    assert admissions.admit(Guest("a")) is Decision.REJECT
    other = Guest("b")
    assert admissions.admit(other) is Decision.ACCEPT
    assert admissions.reserve_descriptors(other, 1)
    for guest in guests:
        admissions.remove(guest)
    assert admissions._by_client is None  # nobody is counted any more
    assert not admissions._extra_descriptors or list(admissions._extra_descriptors) == [other]


def test_kept_files_are_given_up_for_connections() -> None:
    files = Files(8)
    admissions: ConnectionLimiter[Guest] = ConnectionLimiter(ProcessLimits(10, 10, 10, 10), files)
    for number in range(10):
        assert admissions.admit(Guest("a")) is Decision.ACCEPT
        assert number + 1 + files.open_files <= 10
    assert files.released == 8
    assert admissions.admit(Guest("a")) is Decision.REJECT


def test_bounds_come_of_what_the_process_may_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    assert process_limits(Limits()) == (192, 144, 192, 144)
    assert process_limits(Limits(max_connections=50)) == (50, 37, 192, 144)
    assert process_limits(Limits(max_connections=1_000)) == (192, 144, 192, 144)
    assert process_limits(Limits(max_connections_per_ip=160)) == (192, 160, 192, 160)
    assert process_limits(Limits(), threads=50) == (50, 37, 192, 144)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 20, 1 << 20))
    assert process_limits(Limits(), max_fd=1_024).descriptors == 1_024 - 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("descriptors")
    (folder / "small").write_bytes(b"small")
    (folder / "large").write_bytes(bytes(16 << 20))
    for number in range(300):
        (folder / f"kept{number}").write_bytes(bytes(70_000))
    for file in folder.iterdir():
        os.utime(file, (1, 1))  # or they would be too young to be remembered
    return folder


@contextmanager
def serving(folder: Path, descriptors: int, *options: str) -> Iterator[int]:
    """Serve with so many descriptors; what is yielded is the port."""
    limited = f'ulimit -n {descriptors} && exec "$@"'
    process = subprocess.Popen(
        [
            "sh",
            "-c",
            limited,
            "sh",
            sys.executable,
            "-m",
            "aserve",
            str(folder),
            "--port",
            "0",
            *options,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr
        banner = [process.stderr.readline() for _ in range(4)]
        yield int(banner[1].rstrip("/\n").rpartition(":")[2])
    finally:
        process.kill()
        process.communicate()


def connect(port: int, source: str) -> socket.socket:
    client = socket.socket()
    client.settimeout(PATIENCE)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)  # what is large stays under way
    client.bind((source, 0))
    client.connect(("127.0.0.1", port))
    return client


def status(client: socket.socket, request: bytes) -> tuple[int, bytes]:
    """Return the status of a reply, and its head; 0 for an end without one."""
    try:
        client.sendall(request)
        head = b""
        while b"\r\n\r\n" not in head:
            if not (octets := client.recv(1_024)):
                return 0, b""
            head += octets
    except ConnectionError:
        return 0, b""
    return int(head.split(b" ")[1]), head.partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize("name", NAMES)
def test_one_address_with_many_files_under_way_leaves_room(name: str, folder: Path) -> None:
    with serving(folder, 256, "--model", name) as port, ExitStack() as stack:
        statuses = []
        for _ in range(170):
            client = stack.enter_context(connect(port, MANY))
            code, head = status(client, LARGE)
            statuses.append(code)
            if code == 503:
                assert b"\r\nRetry-After: " in head
        for _ in range(15):
            other = stack.enter_context(connect(port, FEW))
            assert status(other, SMALL)[0] == 200
        assert status(other, LARGE)[0] == 200
        assert set(statuses) <= {200, 503, 0}
        assert 30 <= statuses.count(200) <= 72
        assert 503 in statuses


def test_one_address_with_silent_clients_leaves_threads(folder: Path) -> None:
    options = ("--model", "blocking", "--limit", "max-connections=50")
    with serving(folder, 1_024, *options) as port, ExitStack() as stack:
        silent = [stack.enter_context(connect(port, MANY)) for _ in range(50)]
        other = stack.enter_context(connect(port, FEW))
        assert status(other, SMALL)[0] == 200
        refused = silent[-1].recv(4_096)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: " in refused


def test_one_address_with_tunnels_leaves_room(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=300) as far, ExitStack() as stack:
        place = f"127.0.0.1:{far.getsockname()[1]}"
        port = stack.enter_context(serving(folder, 256, "--allow-connect", place))
        ask = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode()
        codes = []
        for _ in range(150):
            client = stack.enter_context(connect(port, MANY))
            codes.append(status(client, ask)[0])
            if codes[-1] == 200:
                stack.enter_context(far.accept()[0])
        assert codes.count(200) <= 72
        assert 503 in codes
        assert status(stack.enter_context(connect(port, FEW)), SMALL)[0] == 200


def test_kept_files_do_not_keep_connections_out(folder: Path) -> None:
    with serving(folder, 400, "--model", DEFAULT) as port, ExitStack() as stack:
        with connect(port, MANY) as client:
            for number in range(300):
                asked = SMALL.replace(b"small", b"kept%d" % number)
                for _ in range(3):
                    client.sendall(asked)
                    assert len(content(client)) == 70_000
        for number in range(200):
            guest = stack.enter_context(connect(port, f"127.0.1.{number % 4 + 1}"))
            assert status(guest, SMALL)[0] == 200, number


def content(client: socket.socket) -> bytes:
    """Return what a reply of known length has in it."""
    with client.makefile("rb") as reader:
        length = 0
        while (line := reader.readline()) != b"\r\n":
            name, _, value = line.partition(b": ")
            length = int(value) if name == b"Content-Length" else length
        return reader.read(length)
