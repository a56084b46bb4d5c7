"""Clients that are slow on purpose, and more of them than there are descriptors."""

import http.client
import re
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.clients.conftest import LARGE
from tests.clients.running import PATIENCE, Running, program, run

CONNECTIONS = 2_000
SECONDS = 3
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
    serve: Callable[..., Running], root: Path, attack: str
) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = 2 * CONNECTIONS if hard == resource.RLIM_INFINITY else min(hard, 2 * CONNECTIONS)
    server = serve(root, open_files=files)
    server.get()
    before = server.open_files()
    command = ("sh", "-c", 'ulimit -Sn "$0" && exec "$@"', str(files), program("slowhttptest"))
    bounds = ("-c", str(CONNECTIONS), "-r", str(CONNECTIONS), "-l", str(SECONDS), "-p", str(WITHIN))
    with another_client(server) as went:
        done = run(*command, *ATTACKS[attack], *bounds, "-u", f"{server.url}large.bin")
    assert re.search(r"Exit status:", done.stdout), done.stdout
    assert len(went) > SECONDS
    assert set(went) == {206}
    assert settles(server.open_files, before, server.get)


def opened(server: Running, connections: ExitStack) -> socket.socket | None:
    """Open a connection and ask for something; None where that is not served."""
    connection = connections.enter_context(
        socket.create_connection((server.host, server.port), timeout=1)
    )
    return connection if served(connection) else None


def served(connection: socket.socket) -> bool:
    try:
        connection.sendall(b"GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n")
        return connection.recv(65_536).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


@pytest.mark.parametrize("limits", ["derived", "lifted"])
def test_out_of_descriptors(serve: Callable[..., Running], root: Path, limits: str) -> None:
    lifted = ("--limit", "connections=9999", "--limit", "connections_per_client=9999")
    options = ("--limit", "linger_time=1", *(lifted if limits == "lifted" else ()))
    server = serve(root, *options, open_files=96)
    server.get("index.html")
    before = server.open_files()
    with ExitStack() as connections:
        kept = [one for one in iter(lambda: opened(server, connections), None) if one]
        assert len(kept) > 10
        # What waits now is not accepted, and that must not keep the processor busy.
        for _ in range(20):
            waiting = connections.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((server.host, server.port))
        used = server.processor_seconds()
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(1)
        assert server.processor_seconds() - used < 0.5
        assert all(map(served, kept))
    assert settles(server.open_files, before, lambda: _try(server))
    assert server.get("index.html")


def _try(server: Running) -> None:
    """Ask, whether or not there is an answer: descriptors may be short for a moment more."""
    with ExitStack() as connections:
        opened(server, connections)
