"""Clients that are slow on purpose, and more of them than there are descriptors."""

import csv
import http.client
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.clients.conftest import LARGE
from tests.clients.running import PATIENCE, Running, program, run

pytestmark = pytest.mark.alone

CONNECTIONS = 2_000
SECONDS = 3
REMEMBERED = 2  # replies that keep the large file open: whole, and the range of another client
WITHIN = 5  # seconds: far from what it takes, and far from what an attack would make of it


@contextmanager
def another_client(server: Running) -> Iterator[list[int | str]]:
    """Ask over and over while the block runs, each time anew, and tell how that went."""
    went: list[int | str] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            connection = http.client.HTTPConnection(server.host, server.port, timeout=WITHIN)
            try:
                connection.request("GET", "/large.bin", headers={"Range": "bytes=0-9999"})
                reply = connection.getresponse()
                went.append(reply.status if reply.read() == LARGE[:10_000] else "other octets")
            except (OSError, http.client.HTTPException) as error:
                went.append(repr(error))
            finally:
                connection.close()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield went
    finally:
        over.set()
        asking.join()


def settles(measure: Callable[[], int], most: int, meanwhile: Callable[[], object]) -> bool:
    """Do something over and over until a measure has come down."""
    deadline = time.monotonic() + PATIENCE
    while measure() > most:
        if time.monotonic() > deadline:
            return False
        meanwhile()
    return True


ATTACKS = {
    "slow headers": ("-H", "-i", "1"),
    "slow body": ("-B", "-i", "1", "-s", "100000"),
    "many ranges": ("-R", "-i", "1", "-a", "5", "-b", "2000"),
    "slow read": ("-X", "-n", "1", "-w", "1", "-y", "64", "-z", "8", "-k", "3"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_slow_clients_do_not_hold_up_another(
    serve: Callable[..., Running], root: Path, tmp_path: Path, attack: str
) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # All of them have one address, which may have three quarters; a reply from a file takes two.
    wanted = 3 * CONNECTIONS
    files = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    server = serve(root, open_files=files)
    server.get()
    before = server.open_files()
    command = ("sh", "-c", 'ulimit -Sn "$0" && exec "$@"', str(files), program("slowhttptest"))
    bounds = ("-c", str(CONNECTIONS), "-r", str(CONNECTIONS), "-l", str(SECONDS), "-p", str(WITHIN))
    where = ("-g", "-o", str(tmp_path / "seen"), "-u", f"{server.url}large.bin")
    with another_client(server) as went:
        run(*command, *ATTACKS[attack], *bounds, *where)
    with open(tmp_path / "seen.csv") as seen:
        stood = [int(row["Connected"]) + int(row["Closed"]) for row in csv.DictReader(seen)]
    assert max(stood) > CONNECTIONS / 2  # it is an attack
    assert len(went) > SECONDS
    assert set(went) == {206}
    assert settles(server.open_files, before + REMEMBERED, server.get)


def connected(server: Running, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(
        (server.host, server.port), timeout=WITHIN, source_address=(source, 0)
    )


def status(connection: socket.socket) -> int:
    """Ask for something and return the reply's status; 0 where there is no reply."""
    try:
        connection.sendall(b"GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n")
        return int(connection.recv(65_536)[9:12] or 0)
    except OSError:
        return 0


def fill(server: Running, connections: ExitStack) -> list[socket.socket]:
    """Open connections and use them until one is not served; return those that are."""
    kept = []
    while status(one := connections.enter_context(connected(server))) == 200:
        kept.append(one)
    return kept


def crowd(server: Running, connections: ExitStack, size: int) -> None:
    """Open connections that are not waited for."""
    for _ in range(size):
        one = connections.enter_context(socket.socket())
        one.setblocking(False)
        one.connect_ex((server.host, server.port))


LIFTED = ("--limit", "max-connections=9999", "--limit", "max-connections-per-ip=9999")


@pytest.mark.parametrize("options", [(), LIFTED], ids=["limited", "not limited"])
def test_out_of_descriptors(
    serve: Callable[..., Running], root: Path, options: tuple[str, ...]
) -> None:
    server = serve(root, "--limit", "lingering-timeout=1", *options, open_files=96)
    server.get("index.html")
    before = server.open_files()
    with ExitStack() as connections:
        kept = fill(server, connections)
        assert len(kept) > 10
        crowd(server, connections, 20)
        used = server.processor_seconds()
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(1)
        assert server.processor_seconds() - used < 0.5
        # Without limits no descriptor may be left for the file: that is told, and can be tried
        # again on the same connection.
        assert set(map(status, kept)) <= ({200, 503} if options else {200})
    assert settles(server.open_files, before, lambda: attempt(server))
    assert server.get("index.html")


def test_one_address_does_not_lock_out_another(serve: Callable[..., Running], root: Path) -> None:
    server = serve(root, open_files=96)
    with ExitStack() as connections:
        kept = fill(server, connections)
        crowd(server, connections, 200)
        assert status(connections.enter_context(connected(server, "127.0.0.2"))) == 200
        assert set(map(status, kept)) == {200}


def attempt(server: Running) -> None:
    """Ask, whether or not there is an answer: descriptors may be short for a moment more."""
    with suppress(OSError):
        server.get("index.html")
