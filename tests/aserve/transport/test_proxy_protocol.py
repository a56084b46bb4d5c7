"""Connections that begin with a header of the PROXY protocol, over real sockets, in every model."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast
from unittest.mock import Mock

import pytest

import aserve
from aserve.config.server_settings import ServerSettings
from aserve.http1.limits import Limits
from aserve.transport.registry import DEFAULT, MODELS
from tests.aserve.transport.proxy_headers import LOCAL, PROXY, UNIX_STREAM, binary, block, line
from tests.aserve.transport.test_every_model import SETTINGS as OTHERS
from tests.aserve.transport.test_every_model import TIMEOUT, UNAVAILABLE
from tests.conformance.client import Address
from tests.conformance.serving import ONE_AT_A_TIME, address_of, running
from tests.marks import slow, slow_except

SETTINGS = {DEFAULT: {"model": DEFAULT}, **OTHERS}
QUICK = (DEFAULT, "asyncio", "epoll", "blocking", "reactor", "simulated-proactor by the book")
DENIED = "192.0.2.66"
FROM_HERE = {"proxy_protocol": True, "proxy_trust": ("127.0.0.0/8",)}
REQUEST = b"GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
SERVED, FORBIDDEN, BUSY = b"HTTP/1.1 200 ", b"HTTP/1.1 403 ", b"HTTP/1.1 503 "


@pytest.fixture(params=slow_except(SETTINGS, *QUICK))
def model(request: pytest.FixtureRequest) -> ServerSettings:
    settings = SETTINGS[request.param]
    if reason := UNAVAILABLE.get(str(settings["model"])):
        pytest.skip(reason)
    return cast("ServerSettings", settings)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("proxied")
    (directory / "small").write_bytes(b"small")
    return directory


@pytest.fixture
def short_path() -> Iterator[str]:
    """Return a directory whose path leaves room for a name: that of a socket has 107 bytes."""
    with TemporaryDirectory() as path:
        yield path


@contextmanager
def connected(address: Address, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.create_connection(address, TIMEOUT, (host, 0)) as client:
        yield client


def read_to_end(client: socket.socket) -> bytes:
    """Return what comes until the connection ends, also by a reset: not all was read that came."""
    received = b""
    try:
        while data := client.recv(1 << 16):
            received += data
    except ConnectionResetError:
        pass
    return received


def answer(address: Address, *parts: bytes, host: str = "127.0.0.1") -> bytes:
    """Return what parts are answered with, each of which is sent by itself."""
    with connected(address, host) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for part in parts:
                client.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was refused before the end
        return read_to_end(client)


def wait_until_read(client: socket.socket) -> None:
    """Wait until a server has accepted a connection and read all that was sent: proc(5).

    An inode of 0 is a connection that has not been accepted yet.
    """
    port, peer_port = client.getpeername()[1], client.getsockname()[1]
    while True:
        for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            columns = row.split()
            ports = tuple(int(column.split(":")[1], 16) for column in columns[1:3])
            _, received = columns[4].split(":")
            if ports == (port, peer_port) and columns[9] != "0" and not int(received, 16):
                return
        time.sleep(0.001)


def one_by_one(data: bytes) -> list[bytes]:
    return [data[position : position + 1] for position in range(len(data))]


def test_the_header_says_who_the_client_is(model: ServerSettings, directory: Path) -> None:
    """However it arrives; and whoever sends none gets no answer at all."""
    with running(directory, **model, **FROM_HERE, deny=(DENIED,)) as address:
        for header in (line, binary):
            assert answer(address, header("192.0.2.1") + REQUEST).endswith(b"\r\n\r\nsmall")
            assert answer(address, header(DENIED) + REQUEST).startswith(FORBIDDEN)
            assert answer(address, header("2001:db8::1"), REQUEST).startswith(SERVED)
            assert answer(address, *one_by_one(header(DENIED)), REQUEST).startswith(FORBIDDEN)
            assert answer(address, *one_by_one(header("192.0.2.1") + REQUEST)).startswith(SERVED)
        for local in (block(LOCAL, 0, b"skipped"), b"PROXY UNKNOWN\r\n"):
            assert answer(address, local + REQUEST).startswith(SERVED)
        for none in (REQUEST, b"\r\n" + REQUEST, b"PROXY TCP4 x\r\n" + REQUEST, b"\x16\x03\x01"):
            assert answer(address, none) == b""
        assert answer(address, line("192.0.2.1") + REQUEST).startswith(SERVED)


def test_a_proxy_that_names_nobody_is_the_client_itself(
    model: ServerSettings, directory: Path
) -> None:
    with running(directory, **model, **FROM_HERE, deny=("127.0.0.7",)) as address:
        for local in (block(LOCAL, 0, b""), b"PROXY UNKNOWN 192.0.2.1 192.0.2.1 1 1\r\n"):
            assert answer(address, local + REQUEST, host="127.0.0.7").startswith(FORBIDDEN)
            assert answer(address, local + REQUEST, host="127.0.0.8").startswith(SERVED)


def test_a_client_that_is_named_is_believed_if_it_is_a_trusted_proxy(
    model: ServerSettings, directory: Path
) -> None:
    """One proxy may pass on TCP for another one, which says in each request for whom it asks."""
    said = REQUEST.replace(b"Host", f"X-Forwarded-For: {DENIED}\r\nHost".encode())
    with running(directory, **model, **FROM_HERE, deny=(DENIED,)) as address:
        for header in (line, binary):
            assert answer(address, header("192.0.2.1") + said).startswith(SERVED)
            assert answer(address, header("127.0.0.9") + said).startswith(FORBIDDEN)
            data = header("127.0.0.9") + said
            assert answer(address, data[:9], data[9:]).startswith(FORBIDDEN)
            assert answer(address, header("127.0.0.9") + REQUEST).startswith(SERVED)
        assert answer(address, block(LOCAL, 0, b"") + said).startswith(FORBIDDEN)


def test_peers_that_are_not_trusted_are_closed_at_once(
    model: ServerSettings, directory: Path
) -> None:
    trust = {"proxy_protocol": True, "proxy_trust": ("127.0.0.2", "127.0.1.0/24")}
    with running(directory, **model, **trust) as address:
        assert answer(address, line("192.0.2.1") + REQUEST) == b""
        assert answer(address, binary("127.0.0.2") + REQUEST) == b""
        for host in ("127.0.0.2", "127.0.1.9"):
            assert answer(address, line("192.0.2.1") + REQUEST, host=host).startswith(SERVED)


def test_connections_are_kept_and_requests_are_pipelined_behind_the_header(
    model: ServerSettings, directory: Path
) -> None:
    kept = REQUEST.replace(b"Connection: close\r\n", b"")
    with running(directory, **model, **FROM_HERE) as address:
        response = answer(address, line("192.0.2.1") + kept + kept, kept, REQUEST)
        assert response.count(SERVED) == 4
        assert answer(address, line("192.0.2.1") + REQUEST + line(DENIED)).count(b"HTTP/1.1 ") == 1
        second = answer(address, line("192.0.2.1") + line("192.0.2.1") + REQUEST)
        assert second.startswith(b"HTTP/1.1 400 ")  # no header follows a header


# A child knows its own client alone, and others wait in the queue of the kernel.
@pytest.mark.parametrize(
    "model",
    slow_except([name for name in SETTINGS if name not in {*ONE_AT_A_TIME, "fork"}], *QUICK),
    indirect=True,
)
def test_connections_are_counted_for_the_clients_that_are_named(
    model: ServerSettings, directory: Path
) -> None:
    limits = Limits(max_connections=20, max_connections_per_ip=2)
    kept = REQUEST.replace(b"Connection: close\r\n", b"")
    with (
        running(directory, **model, **FROM_HERE, limits=limits) as address,
        ExitStack() as stack,
    ):
        waiting = [stack.enter_context(connected(address)) for _ in range(6)]
        for client in waiting:
            client.sendall(b"P")  # they count as the proxy's, which has no share
        clients = [stack.enter_context(connected(address)) for _ in range(2)]
        for client in clients:
            client.sendall(line("192.0.2.1") + kept)
            assert client.recv(1 << 16).startswith(SERVED)
        assert answer(address, line("192.0.2.1") + REQUEST).startswith(BUSY)
        assert answer(address, line("192.0.2.99") + REQUEST).startswith(SERVED)
        for number, client in enumerate(waiting):
            named, expected = (f"192.0.2.1{number}", SERVED) if number % 2 else ("192.0.2.1", BUSY)
            client.sendall(line(named)[1:] + REQUEST)
            assert read_to_end(client).startswith(expected)
        clients[0].close()
        while answer(address, line("192.0.2.1") + REQUEST).startswith(BUSY):
            pass  # the server has not seen its end


@pytest.mark.parametrize("model", slow_except(SETTINGS, DEFAULT, "epoll"), indirect=True)
def test_bytes_that_trickle_in_win_no_time(model: ServerSettings, directory: Path) -> None:
    limits = Limits(header_timeout=1, keepalive_timeout=3600)
    with (
        running(directory, **model, **FROM_HERE, limits=limits) as address,
        connected(address) as client,
    ):
        client.settimeout(0.05)
        received = None
        parts = iter(one_by_one(block(LOCAL, 0, bytes(4_096))))
        while received is None:
            try:
                client.sendall(next(parts))
                received = client.recv(1)
            except TimeoutError:
                pass
            except (BrokenPipeError, ConnectionResetError):
                received = b""
        assert received == b""


@pytest.mark.parametrize("model", slow_except(SETTINGS, *QUICK[:3]), indirect=True)
def test_a_connection_that_waits_for_its_header_does_not_delay_a_stop(
    model: ServerSettings, directory: Path
) -> None:
    with ExitStack() as stack:
        with running(directory, **model, **FROM_HERE, grace=600) as address:
            client = stack.enter_context(connected(address))
            client.sendall(line("192.0.2.1")[:9])
            if not ONE_AT_A_TIME & {str(model["model"])}:
                assert answer(address, line("192.0.2.1") + REQUEST).startswith(SERVED)
        assert read_to_end(client) == b""


@pytest.mark.parametrize("header", [line("192.0.2.1"), binary("192.0.2.1")])
def test_without_the_setting_a_header_is_a_malformed_request(
    directory: Path, header: bytes
) -> None:
    """So that nobody can say who he is."""
    for model in (DEFAULT, "epoll"):
        with running(directory, model=model, proxy_trust=("127.0.0.0/8",)) as address:
            assert answer(address, header + REQUEST).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("model", ["epoll", "multi-reactor", slow("reactor")])
def test_a_reload_changes_who_is_trusted(directory: Path, model: str) -> None:
    header = line("192.0.2.1")
    with aserve.Server(directory, model=model, **FROM_HERE) as server:
        address = address_of(server)
        with connected(address) as waiting, connected(address) as kept:
            waiting.sendall(header[:9])
            wait_until_read(waiting)  # by a reactor of its own, which may be later than the other
            kept.sendall(header + REQUEST.replace(b"Connection: close\r\n", b""))
            assert kept.recv(1 << 16).startswith(SERVED)
            server.reload(proxy_trust=("127.0.0.2",), deny=(DENIED,))
            assert answer(address, header + REQUEST) == b""
            assert answer(address, header + REQUEST, host="127.0.0.2").startswith(SERVED)
            waiting.sendall(header[9:] + REQUEST)  # its peer was trusted when it came
            assert read_to_end(waiting).startswith(SERVED)
            kept.sendall(REQUEST)
            assert read_to_end(kept).startswith(SERVED)
        server.reload(proxy_protocol=False)
        assert answer(address, REQUEST).startswith(SERVED)
        assert answer(address, header + REQUEST).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("model", [DEFAULT, "epoll", "blocking"])
@pytest.mark.parametrize("cut", [9, 40])
def test_an_error_of_our_own_costs_one_connection(
    directory: Path, model: str, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = line("192.0.2.1")
    with aserve.Server(directory, model=model, **FROM_HERE) as server:
        with monkeypatch.context() as patched:
            fail = Mock(side_effect=RuntimeError("a bug"))
            patched.setattr("aserve.transport.proxy_protocol.parse_proxy_header", fail)
            assert not answer(address_of(server), header[:cut]).startswith(SERVED)
            assert fail.called
        assert answer(address_of(server), header[:cut], header[cut:] + REQUEST).startswith(SERVED)


@pytest.mark.parametrize("model", [DEFAULT, "epoll", slow("proactor"), slow("blocking")])
def test_a_proxy_may_come_by_a_unix_socket(directory: Path, short_path: str, model: str) -> None:
    """It is trusted as one that has no address, and whom it names is not."""
    if reason := UNAVAILABLE.get(model):
        pytest.skip(reason)
    path = f"{short_path}/socket"

    def ask(*parts: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(TIMEOUT)
            client.connect(path)
            with suppress(BrokenPipeError, ConnectionResetError):
                for part in parts:
                    client.sendall(part)
            return read_to_end(client)

    said = REQUEST.replace(b"Host", f"X-Forwarded-For: {DENIED}\r\nHost".encode())
    served = {"host": f"unix:{path}", "model": model, "deny": (DENIED,), "proxy_protocol": True}
    with aserve.Server(directory, proxy_trust=("unix",), **served):
        for header in (line, binary):
            assert ask(header("192.0.2.1") + said).startswith(SERVED)
            assert ask(header(DENIED)[:9], header(DENIED)[9:] + REQUEST).startswith(FORBIDDEN)
        assert ask(block(PROXY, UNIX_STREAM, bytes(216)) + said).startswith(SERVED)
        assert ask(block(LOCAL, 0, b"") + REQUEST).startswith(SERVED)
        assert ask(REQUEST) == b""
    with aserve.Server(directory, proxy_trust=("0.0.0.0/0", "::/0"), **served):
        assert ask(line("192.0.2.1") + REQUEST) == b""


def test_a_peer_that_is_not_trusted_need_not_send_anything(directory: Path) -> None:
    trust = {"proxy_protocol": True, "proxy_trust": ("127.0.0.2",)}
    with running(directory, model="epoll", **trust) as address:
        assert answer(address) == b""


def test_all_models_are_asked() -> None:
    assert {settings["model"] for settings in SETTINGS.values()} == set(MODELS)
