"""Rates over sockets: in every model, cached or not, and with several processes.

The clock is an argument of what counts, which these tests replace; all else is as it is served.
"""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import aserve
from aserve.access.rates import NANOSECONDS, Rate, RequestCounts
from aserve.config.settings import Settings
from aserve.transport.registry import BY_THE_BOOK, MODELS
from tests.aserve import programs
from tests.aserve.seams.serving import MODEL_PARAMS, TIMEOUT
from tests.aserve.server.test_reload import running
from tests.aserve.server.test_virtual_hosts import head, serving, until_cached
from tests.aserve.tls.issuing import client_context, issue
from tests.marks import slow

ONE, OTHER = "127.0.0.1", "127.0.0.2"

OF_PROCESSES = [
    (name, False)
    for name, row in MODELS.items()
    if row.needs_processes and not row.unavailable_reason()
] + [(name, True) for name in BY_THE_BOOK]


class Clock:
    """The time by which requests are counted, in nanoseconds."""

    def __init__(self) -> None:
        self.now = 1_800_000_000 * NANOSECONDS


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock, take = Clock(), RequestCounts.take

    def take_at(self: RequestCounts, key: int, rate: Rate, _now: int) -> int:
        return take(self, key, rate, clock.now)

    monkeypatch.setattr(RequestCounts, "take", take_at)
    return clock


class Client:
    """A client with an address of its own, on one connection."""

    def __init__(self, url: str, address: str = ONE) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection(
            (parts.hostname, parts.port), TIMEOUT, source_address=(address, 0)
        )
        self.received = b""

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request; return the status and the head of the answer."""
        self.socket.sendall(request)
        return self.read(has_body=not request.startswith(b"HEAD"))

    def read(self, *, has_body: bool = True) -> tuple[int, bytes]:
        """Return the status and the head of the next answer."""
        answer = self._read_until(lambda: b"\r\n\r\n" in self.received and self.received)
        answer, _, self.received = answer.partition(b"\r\n\r\n")
        length = re.search(rb"\r\nContent-Length: (\d+)", answer)
        size = int(length[1]) if length and has_body else 0
        self._read_until(lambda: len(self.received) >= size and b"!")
        self.received = self.received[size:]
        return int(answer.split()[1]), answer

    def _read_until(self, is_there) -> bytes:  # type: ignore[no-untyped-def]
        while not (found := is_there()):
            data = self.socket.recv(1 << 16)
            assert data, "the connection is closed"
            self.received += data
        return bytes(found)

    def is_closed(self) -> bool:
        """Wait for the end of the connection; return whether nothing came before it."""
        return self.received == self.socket.recv(1 << 16) == b""


@contextmanager
def client_of(url: str, address: str = ONE) -> Iterator[Client]:
    client = Client(url, address)
    with client.socket:
        yield client


GET = head("/a.txt", "x")


def retry_after(answer: bytes) -> int:
    match = re.search(rb"\r\nRetry-After: (\d+)", answer)
    assert match
    return int(match[1])


@pytest.mark.parametrize("model", MODEL_PARAMS)
def test_a_burst_then_429_then_200_after_retry_after(
    directory: Path, clock: Clock, model: str
) -> None:
    with aserve.Server(directory, model=model, rate="2/m") as server:
        with client_of(server.url) as client:  # the connection stays open
            assert [client.ask(GET)[0] for _ in range(2)] == [200, 200]
            status, answer = client.ask(GET)
            assert (status, retry_after(answer)) == (429, 30)
            clock.now += 29 * NANOSECONDS
            status, answer = client.ask(GET)
            assert (status, retry_after(answer)) == (429, 1)
            clock.now += NANOSECONDS
            assert [client.ask(GET)[0] for _ in range(2)] == [200, 429]
        with client_of(server.url, OTHER) as other:
            assert [other.ask(GET)[0] for _ in range(3)] == [200, 200, 429]
        with client_of(server.url) as again:
            assert again.ask(GET)[0] == 429


@pytest.mark.parametrize("model", MODEL_PARAMS)
def test_requests_in_one_write_are_counted_one_by_one(
    directory: Path, clock: Clock, model: str
) -> None:
    with (
        aserve.Server(directory, model=model, rate="3/h") as server,
        client_of(server.url) as client,
    ):
        client.socket.sendall(GET * 5)
        assert [client.read()[0] for _ in range(5)] == [200, 200, 200, 429, 429]


@pytest.mark.parametrize("model", MODEL_PARAMS)
def test_of_an_upload_too_many_nothing_is_read(directory: Path, clock: Clock, model: str) -> None:
    put = b"PUT /new HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n%s\r\n"
    with aserve.Server(directory, model=model, rate="1/h", write=("/",)) as server:
        with client_of(server.url) as client:
            assert client.ask(head("/none", "x"))[0] == 404  # which counts as well
            status, answer = client.ask(put % b"Expect: 100-continue\r\n")
            assert status == 429  # and no 100
            assert b"\r\nConnection: close" in answer
            client.socket.shutdown(socket.SHUT_WR)
            assert client.is_closed()
        with client_of(server.url) as client:
            assert client.ask(put % b"")[0] == 429
    assert not (directory / "new").exists()


def test_an_upload_too_many_without_a_body_leaves_the_connection_open(
    directory: Path, clock: Clock
) -> None:
    put = b"PUT /new HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    with (
        aserve.Server(directory, rate="1/h", write=("/",)) as server,
        client_of(server.url) as client,
    ):
        assert [client.ask(one)[0] for one in (GET, put, GET)] == [200, 429, 429]
    assert not (directory / "new").exists()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_responses_that_are_remembered_are_counted(
    directory: Path, clock: Clock, method: str
) -> None:
    request = head("/a.txt", "x", method=method)
    async with serving(Settings(directory, rate="8/h"), cache=True) as (server, client, _other):
        for _ in range(6):
            assert b" 200 " in await client.ask(request)
            await until_cached(server)
        assert server.cache
        assert len(server.cache._by_key) == 1
        for status in (b"200", b"200", b"429", b"429"):
            assert (await client.ask(request)).split()[1] == status
        clock.now += 450 * NANOSECONDS
        client.writer.write(GET * 3)
        statuses = [(await client.ask(b"")).split()[1] for _ in range(3)]
        assert statuses == [b"200", b"429", b"429"]


async def test_making_a_response_twice_to_remember_it_counts_once(
    directory: Path, clock: Clock
) -> None:
    async with serving(Settings(directory, rate="100/h"), cache=True) as (server, client, _other):
        for _ in range(99):
            assert b" 200 " in await client.ask(GET)
            await until_cached(server)
        assert server.cache
        assert len(server.cache._by_key) == 1
        assert b" 200 " in await client.ask(GET)
        assert b" 429 " in await client.ask(GET)


def test_connections_for_one_request_are_counted(directory: Path, clock: Clock) -> None:
    """The acceptor answers such clients without a connection, from the cache (ADR 13)."""
    once = head("/a.txt", "x", minor=0)
    with aserve.Server(directory, rate="20/h") as server:
        statuses = []
        for _ in range(25):
            with client_of(server.url) as client:
                statuses.append(client.ask(once)[0])
    assert statuses == [200] * 20 + [429] * 5


def of(client: str) -> bytes:
    """Return a request that a proxy passes on."""
    return head("/a.txt", "x", f"X-Forwarded-For: 192.0.2.9, {client}")


@pytest.mark.parametrize("model", MODEL_PARAMS)
def test_each_client_of_a_trusted_proxy_is_counted_for_itself(
    directory: Path, clock: Clock, model: str
) -> None:
    """On one connection, from the cache and not; what a client says itself does not count."""
    with (
        aserve.Server(directory, model=model, rate="8/h", proxy_trust=(ONE,)) as server,
        client_of(server.url) as proxy,
    ):
        for client in ("192.0.2.1", "192.0.2.2"):
            statuses = [proxy.ask(of(client))[0] for _ in range(10)]
            assert statuses == [200] * 8 + [429] * 2
        proxy.socket.sendall(of("192.0.2.1") + of("192.0.2.3") + of("192.0.2.2"))
        assert [proxy.read()[0] for _ in range(3)] == [429, 200, 429]
        with client_of(server.url, OTHER) as client:  # which no one trusts
            statuses = [client.ask(of(f"192.0.2.{number}"))[0] for number in range(10, 20)]
            assert statuses == [200] * 8 + [429] * 2


@pytest.mark.parametrize("model", MODEL_PARAMS)
def test_each_client_that_a_proxy_header_names_is_counted_for_itself(
    directory: Path, clock: Clock, model: str
) -> None:
    settings = {"rate": "2/h", "proxy_protocol": True, "proxy_trust": (ONE,)}
    with aserve.Server(directory, model=model, **settings) as server:
        for client, expected in (("192.0.2.1", [200, 200, 429]), ("192.0.2.2", [200, 200, 429])):
            with client_of(server.url) as connection:
                connection.socket.sendall(f"PROXY TCP4 {client} 192.0.2.9 1 2\r\n".encode())
                assert [connection.ask(GET)[0] for _ in range(3)] == expected
        with client_of(server.url) as connection:
            request = b"PROXY TCP4 192.0.2.1 192.0.2.9 1 2\r\n" + GET
            assert connection.ask(request)[0] == 429


def test_requests_by_tls_are_counted(
    directory: Path, clock: Clock, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pair = issue(tmp_path_factory.mktemp("tls"), "a")
    files = {"cert": (pair.cert,), "key": (pair.key,)}
    with (
        aserve.Server(directory, rate="8/h", **files) as server,
        client_of(server.url) as client,
        client_context().wrap_socket(client.socket, server_hostname="localhost") as client.socket,
    ):
        statuses = [client.ask(GET)[0] for _ in range(10)]  # the last ones are in the cache
        assert statuses == [200] * 8 + [429] * 2


def test_a_reload_sets_a_rate_and_open_connections_follow(directory: Path, clock: Clock) -> None:
    with aserve.Server(directory) as server, client_of(server.url) as client:
        assert [client.ask(GET)[0] for _ in range(3)] == [200, 200, 200]
        server.reload(rate="2/h")
        assert [client.ask(GET)[0] for _ in range(3)] == [200, 200, 429]
        server.reload(title="x")
        assert client.ask(GET)[0] == 429
        server.reload(rate="")
        assert client.ask(GET)[0] == 200


@pytest.mark.parametrize(
    ("model", "by_the_book"), [slow(*one) if one[1] else one for one in OF_PROCESSES]
)
def test_the_processes_of_a_model_count_together(
    directory: Path, model: str, by_the_book: bool
) -> None:
    settings = {"model": model, "by_the_book": by_the_book, "rate": "3/h"}
    with programs.serve(directory, **settings) as server:
        statuses = []
        for _ in range(12):
            with client_of(server.url) as client:
                statuses.append(client.ask(GET)[0])
        assert statuses == [200] * 3 + [429] * 9


def test_all_workers_count_together_where_a_reload_is_the_first_to_set_a_rate(
    directory: Path,
) -> None:
    """The kernel gives each worker about half of the connections, and surely not three or less."""
    (directory.parent / "aserve.toml").write_text("root = 'site'")
    with running(directory.parent, "--workers=2") as program:
        url = f"http://{ONE}:{program.port}/"
        for rate in ("", "rate = '3/h'"):
            program.configure("site", rate)
            assert program.reload() == ""
            statuses = []
            for _ in range(30):
                with client_of(url) as client:
                    statuses.append(client.ask(GET)[0])
            assert statuses == ([200] * 3 + [429] * 27 if rate else [200] * 30)
