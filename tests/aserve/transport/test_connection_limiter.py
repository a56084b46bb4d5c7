"""Descriptors are scarce: they are counted and shared, and cached files are evicted first."""

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

import aserve
from aserve.http1.limits import Limits
from aserve.transport.connection_limiter import (
    ConnectionLimiter,
    Decision,
    ProcessLimits,
    process_limits,
)
from aserve.transport.registry import DEFAULT, MODELS
from tests.aserve import programs
from tests.conformance.serving import address_of
from tests.marks import slow_except

TIMEOUT = 60.0
# iterative accepts no client over its limit; for processes see test_processes.py.
NAMES = [
    name
    for name, row in MODELS.items()
    if not (row.unavailable_reason() or row.needs_processes or name == "iterative")
]
MANY, FEW = "127.0.0.2", "127.0.0.3"
SMALL = b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n"
LARGE = SMALL.replace(b"small", b"large")


class Client:
    def __init__(self, peer: str, *, is_shared: bool = False) -> None:
        self.peer = peer
        self.is_shared = is_shared


class Files:
    """Cached open files, and how many were evicted."""

    max_open_files = 8

    def __init__(self, open_files: int) -> None:
        self.open_files = open_files
        self.evicted = 0

    def evict_files(self, count: int) -> int:
        count = min(count, self.open_files)
        self.open_files -= count
        self.evicted += count
        return count


def test_a_file_counts_besides_its_connection() -> None:
    limiter: ConnectionLimiter[Client] = ConnectionLimiter(ProcessLimits(10, 10, 10, 10))
    clients = [Client("a") for _ in range(6)]
    assert all(limiter.admit(client) is Decision.ACCEPT for client in clients)
    assert [limiter.reserve_descriptors(client, 1) for client in clients] == [True] * 4 + [
        False
    ] * 2
    assert limiter.admit(Client("b")) is Decision.REJECT
    limiter.release_descriptors(clients[0])
    assert limiter.reserve_descriptors(clients[5], 1)
    limiter.remove(clients[1])
    assert limiter.admit(Client("b")) is Decision.ACCEPT
    limiter.remove(clients[2])
    limiter.remove(clients[2])


def test_a_shared_connection_counts_for_all_and_for_no_client() -> None:
    """As those of a trusted proxy, at whose address all of its clients are."""
    limiter: ConnectionLimiter[Client] = ConnectionLimiter(ProcessLimits(6, 2, 12, 2))
    shared = [Client("a", is_shared=True) for _ in range(4)]
    assert [limiter.admit(client) for client in shared] == [Decision.ACCEPT] * 4
    assert all(limiter.reserve_descriptors(client, 1) for client in shared)
    own = [Client("a") for _ in range(3)]
    decisions = [limiter.admit(client) for client in own]
    assert decisions == [Decision.ACCEPT, Decision.ACCEPT, Decision.REJECT]
    assert limiter.admit(Client("b", is_shared=True)) is Decision.REJECT  # for the total
    limiter.release_descriptors(shared[0])
    for client in (*shared, *own):
        limiter.remove(client)
    assert limiter._by_client in (None, {})
    assert [limiter.admit(Client("a")) for _ in range(3)] == decisions


@pytest.mark.parametrize("name", slow_except(NAMES, DEFAULT, "blocking"))
def test_every_client_over_the_limit_gets_its_503(name: str, tmp_path: Path) -> None:
    limits = Limits(max_connections=2, max_connections_per_ip=2)
    with aserve.Server(tmp_path, model=name, limits=limits) as server, ExitStack() as stack:
        clients = []
        for number in range(60):  # more than a server without spare descriptors would answer
            client = stack.enter_context(socket.create_connection(address_of(server), TIMEOUT))
            client.settimeout(TIMEOUT)
            client.sendall(SMALL)
            if number < 2:  # which are served, and stay open
                assert client.recv(1 << 16).startswith(b"HTTP/1.1 404 ")
            else:
                clients.append(client)
        responses = [b"".join(iter(partial(one.recv, 1 << 16), b"")) for one in clients]
    assert all(response.startswith(b"HTTP/1.1 503 ") for response in responses)


def test_no_address_has_more_than_its_share_of_descriptors() -> None:
    limiter: ConnectionLimiter[Client] = ConnectionLimiter(ProcessLimits(12, 9, 12, 9))
    clients = [Client("a") for _ in range(6)]
    assert all(limiter.admit(client) is Decision.ACCEPT for client in clients)
    assert [limiter.reserve_descriptors(client, 1) for client in clients] == [True] * 3 + [
        False
    ] * 3
    assert limiter.admit(Client("a")) is Decision.REJECT
    other = Client("b")
    assert limiter.admit(other) is Decision.ACCEPT
    assert limiter.reserve_descriptors(other, 1)
    for client in clients:
        limiter.remove(client)
    assert limiter._by_client is None  # addresses are no longer counted
    assert not limiter._extra_descriptors or list(limiter._extra_descriptors) == [other]


def test_all_addresses_of_an_ipv6_subscriber_count_as_one() -> None:
    limiter: ConnectionLimiter[Client] = ConnectionLimiter(ProcessLimits(8, 6, 8, 6))
    hosts = [Client(f"2001:db8:0:1::{number:x}") for number in range(7)]
    decisions = [limiter.admit(client) for client in hosts]
    assert decisions == [Decision.ACCEPT] * 6 + [Decision.REJECT]
    assert limiter.admit(Client("2001:db8:0:2::1")) is Decision.ACCEPT
    limiter.remove(hosts[0])
    assert limiter.admit(Client("2001:db8:0:1:ffff::1")) is Decision.ACCEPT


def test_clients_without_an_address_have_no_share_in_common() -> None:
    """They are those of a Unix socket, where a proxy stands for many."""
    limiter: ConnectionLimiter[Client] = ConnectionLimiter(ProcessLimits(8, 2, 12, 2))
    clients = [Client("-") for _ in range(9)]
    decisions = [limiter.admit(client) for client in clients]
    assert decisions == [Decision.ACCEPT] * 8 + [Decision.REJECT]
    held = [limiter.reserve_descriptors(client, 1) for client in clients[:5]]
    assert held == [True] * 4 + [False]
    for client in clients:
        limiter.remove(client)
    others = [Client("a") for _ in range(3)]
    decisions = [limiter.admit(client) for client in others]
    assert decisions == [Decision.ACCEPT] * 2 + [Decision.REJECT]


@pytest.mark.parametrize("network", ["fe80::%x%%eth0", "fd00::%x"])
def test_local_addresses_count_one_by_one(network: str) -> None:
    limiter: ConnectionLimiter[Client] = ConnectionLimiter(ProcessLimits(8, 1, 8, 1))
    hosts = [Client(network % number) for number in range(1, 7)]
    assert all(limiter.admit(client) is Decision.ACCEPT for client in hosts)


def test_cached_files_are_evicted_for_connections() -> None:
    files = Files(8)
    limiter: ConnectionLimiter[Client] = ConnectionLimiter(ProcessLimits(10, 10, 10, 10), files)
    for number in range(10):
        assert limiter.admit(Client("a")) is Decision.ACCEPT
        assert number + 1 + files.open_files <= 10
    assert files.evicted == 8
    assert limiter.admit(Client("a")) is Decision.REJECT


def test_other_limits_apply_to_what_comes() -> None:
    limiter = ConnectionLimiter[Client](ProcessLimits(9, 9, 9, 9))
    clients = [Client(MANY) for _ in range(4)]
    assert [limiter.admit(client) for client in clients] == [Decision.ACCEPT] * 4
    limiter.change_limits(ProcessLimits(5, 5, 9, 9))
    another, over = Client(FEW), Client(FEW)
    assert limiter.admit(another) is Decision.ACCEPT
    assert limiter.admit(over) is Decision.REJECT
    assert len(limiter.connections) == 6
    limiter.change_limits(ProcessLimits(9, 2, 9, 9))
    assert limiter.admit(Client(MANY)) is Decision.REJECT
    for client in clients[1:]:
        limiter.remove(client)
    assert limiter.admit(Client(MANY)) is Decision.ACCEPT


def test_limits_follow_the_process_limit_on_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    assert process_limits(Limits())[:5] == (192, 144, 192, 144, 16)
    assert process_limits(Limits(max_connections=50))[:5] == (50, 37, 192, 144, 92)
    assert process_limits(Limits(max_connections=1_000))[:5] == (192, 144, 192, 144, 16)
    assert process_limits(Limits(max_connections_per_ip=160))[:5] == (192, 160, 192, 160, 16)
    assert process_limits(Limits(), threads=50)[:5] == (50, 37, 192, 144, 92)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 20, 1 << 20))
    assert process_limits(Limits(), max_fd=1_024).descriptors == 1_024 - 64


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("descriptors")
    (directory / "small").write_bytes(b"small")
    (directory / "large").write_bytes(bytes(16 << 20))
    for number in range(300):
        (directory / f"cached{number}").write_bytes(bytes(70_000))
    for file in directory.iterdir():
        os.utime(file, (1, 1))  # old enough to be cached
    return directory


_LIMITED = """
import resource, sys
from aserve.__main__ import main

limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
main()
"""


@contextmanager
def serving(directory: Path, descriptors: int, *options: str) -> Iterator[int]:
    """Serve with a limit on open descriptors; yields the port."""
    process = programs.start_code(_LIMITED, descriptors, directory, "--port", 0, *options)
    with closing(process):
        banner = [process.stderr.readline() for _ in range(4)]
        yield int(banner[1].rstrip("/\n").rpartition(":")[2])


def connect(port: int, source: str) -> socket.socket:
    client = socket.socket()
    client.settimeout(TIMEOUT)
    # A small buffer, so that sending the large file takes long.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.bind((source, 0))
    client.connect(("127.0.0.1", port))
    return client


def get_status(client: socket.socket, request: bytes) -> tuple[int, bytes]:
    """Return the status and the head of a response; status 0 if the connection was closed."""
    try:
        client.sendall(request)
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := client.recv(1_024)):
                return 0, b""
            head += data
    except ConnectionError:
        return 0, b""
    return int(head.split(b" ")[1]), head.partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize("name", slow_except(NAMES, DEFAULT))
def test_one_address_with_many_open_files_leaves_descriptors_for_others(
    name: str, directory: Path
) -> None:
    with serving(directory, 256, "--model", name) as port, ExitStack() as stack:
        statuses = []
        for _ in range(170):
            client = stack.enter_context(connect(port, MANY))
            code, head = get_status(client, LARGE)
            statuses.append(code)
            if code == 503:
                assert b"\r\nRetry-After: " in head
        for _ in range(15):
            other = stack.enter_context(connect(port, FEW))
            assert get_status(other, SMALL)[0] == 200
        assert get_status(other, LARGE)[0] == 200
        assert set(statuses) <= {200, 503, 0}
        assert 30 <= statuses.count(200) <= 72
        assert 503 in statuses


def test_one_address_with_silent_clients_leaves_threads_for_others(directory: Path) -> None:
    options = ("--model", "blocking", "--limit", "max-connections=50")
    with serving(directory, 1_024, *options) as port, ExitStack() as stack:
        silent = [stack.enter_context(connect(port, MANY)) for _ in range(50)]
        other = stack.enter_context(connect(port, FEW))
        assert get_status(other, SMALL)[0] == 200
        rejected = silent[-1].recv(4_096)
        assert rejected.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: " in rejected


def test_one_address_with_tunnels_leaves_descriptors_for_others(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=300) as target, ExitStack() as stack:
        address = f"127.0.0.1:{target.getsockname()[1]}"
        port = stack.enter_context(serving(directory, 256, "--allow-connect", address))
        request = f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()
        codes = []
        for _ in range(150):
            client = stack.enter_context(connect(port, MANY))
            codes.append(get_status(client, request)[0])
            if codes[-1] == 200:
                stack.enter_context(target.accept()[0])
        assert codes.count(200) <= 72
        assert 503 in codes
        assert get_status(stack.enter_context(connect(port, FEW)), SMALL)[0] == 200


@pytest.mark.slow
def test_cached_files_do_not_keep_connections_out(directory: Path) -> None:
    with serving(directory, 400, "--model", DEFAULT) as port, ExitStack() as stack:
        with connect(port, MANY) as client:
            for number in range(300):
                request = SMALL.replace(b"small", b"cached%d" % number)
                for _ in range(3):
                    client.sendall(request)
                    assert len(read_body(client)) == 70_000
        for number in range(200):
            client = stack.enter_context(connect(port, f"127.0.1.{number % 4 + 1}"))
            assert get_status(client, SMALL)[0] == 200, number


def read_body(client: socket.socket) -> bytes:
    """Read a response with Content-Length and return its body."""
    with client.makefile("rb") as reader:
        length = 0
        while (line := reader.readline()) != b"\r\n":
            name, _, value = line.partition(b": ")
            length = int(value) if name == b"Content-Length" else length
        return reader.read(length)
