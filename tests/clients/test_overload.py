"""Clients that are slow on purpose, and more clients than descriptors."""

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
from tests.clients.running import TIMEOUT_S, RunningServer, program, run

pytestmark = pytest.mark.alone

CONNECTIONS = 2_000
SECONDS = 3
CACHED_FILES = 2  # responses with the large file open: the whole, and another client's range
MAX_WAIT_S = 5  # much longer than a response takes, much shorter than an attack would make it


@contextmanager
def another_client(server: RunningServer) -> Iterator[list[int | str]]:
    """Send requests while the block runs, each on a new connection; yield the list of outcomes."""
    outcomes: list[int | str] = []
    stop = threading.Event()

    def send_requests() -> None:
        while not stop.is_set():
            connection = http.client.HTTPConnection(server.host, server.port, timeout=MAX_WAIT_S)
            try:
                connection.request("GET", "/large.bin", headers={"Range": "bytes=0-9999"})
                response = connection.getresponse()
                outcomes.append(
                    response.status if response.read() == LARGE[:10_000] else "other data"
                )
            except (OSError, http.client.HTTPException) as error:
                outcomes.append(repr(error))
            finally:
                connection.close()

    thread = threading.Thread(target=send_requests)
    thread.start()
    try:
        yield outcomes
    finally:
        stop.set()
        thread.join()


def falls_to(measure: Callable[[], int], target: int, meanwhile: Callable[[], object]) -> bool:
    """Call `meanwhile` until a measure is down to `target`; return False after a timeout."""
    deadline = time.monotonic() + TIMEOUT_S
    while measure() > target:
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
def test_slow_clients_do_not_delay_another(
    serve: Callable[..., RunningServer], root: Path, tmp_path: Path, attack: str
) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # One address may have three quarters of the connections; a response from a file takes two
    # descriptors.
    descriptors = 3 * CONNECTIONS
    if hard != resource.RLIM_INFINITY:
        descriptors = min(hard, descriptors)
    server = serve(root, open_files=descriptors)
    server.get()
    before = server.open_files()
    command = (
        "sh",
        "-c",
        'ulimit -Sn "$0" && exec "$@"',
        str(descriptors),
        program("slowhttptest"),
    )
    bounds = (
        "-c",
        str(CONNECTIONS),
        "-r",
        str(CONNECTIONS),
        "-l",
        str(SECONDS),
        "-p",
        str(MAX_WAIT_S),
    )
    output = ("-g", "-o", str(tmp_path / "statistics"), "-u", f"{server.url}large.bin")
    with another_client(server) as outcomes:
        run(*command, *ATTACKS[attack], *bounds, *output)
    with open(tmp_path / "statistics.csv") as statistics:
        counts = [int(row["Connected"]) + int(row["Closed"]) for row in csv.DictReader(statistics)]
    assert max(counts) > CONNECTIONS / 2  # otherwise it is no attack
    assert len(outcomes) > SECONDS
    assert set(outcomes) == {206}
    assert falls_to(server.open_files, before + CACHED_FILES, server.get)


def connect(server: RunningServer, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(
        (server.host, server.port), timeout=MAX_WAIT_S, source_address=(source, 0)
    )


def status(connection: socket.socket) -> int:
    """Send a request and return the status of the response, 0 for none."""
    try:
        connection.sendall(b"GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n")
        return int(connection.recv(65_536)[9:12] or 0)
    except OSError:
        return 0


def fill(server: RunningServer, connections: ExitStack) -> list[socket.socket]:
    """Open connections and use them until one is rejected; return those that are served."""
    served = []
    while status(one := connections.enter_context(connect(server))) == 200:
        served.append(one)
    return served


def open_without_waiting(server: RunningServer, connections: ExitStack, count: int) -> None:
    """Start to connect so many times, and do not wait for it."""
    for _ in range(count):
        one = connections.enter_context(socket.socket())
        one.setblocking(False)
        one.connect_ex((server.host, server.port))


NO_LIMITS = ("--limit", "max-connections=9999", "--limit", "max-connections-per-ip=9999")


@pytest.mark.parametrize("options", [(), NO_LIMITS], ids=["limited", "not limited"])
def test_out_of_descriptors(
    serve: Callable[..., RunningServer], root: Path, options: tuple[str, ...]
) -> None:
    server = serve(root, "--limit", "lingering-timeout=1", *options, open_files=96)
    server.get("index.html")
    before = server.open_files()
    with ExitStack() as connections:
        served = fill(server, connections)
        assert len(served) > 10
        open_without_waiting(server, connections, 20)
        used = server.cpu_seconds()
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(1)
        assert server.cpu_seconds() - used < 0.5
        # Without limits there may be no descriptor for the file: the response is 503, and the
        # request can be repeated on the same connection.
        assert set(map(status, served)) <= ({200, 503} if options else {200})
    assert falls_to(server.open_files, before, lambda: try_get(server))
    assert server.get("index.html")


def test_one_address_does_not_lock_out_another(
    serve: Callable[..., RunningServer], root: Path
) -> None:
    server = serve(root, open_files=96)
    with ExitStack() as connections:
        served = fill(server, connections)
        open_without_waiting(server, connections, 200)
        assert status(connections.enter_context(connect(server, "127.0.0.2"))) == 200
        assert set(map(status, served)) == {200}


def try_get(server: RunningServer) -> None:
    """Send a request that may fail: descriptors may be missing for another moment."""
    with suppress(OSError):
        server.get("index.html")
