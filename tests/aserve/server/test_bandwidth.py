"""A limited bandwidth: no response runs ahead of it, in any model, and none is cut off for it.

What is measured is an upper bound alone: no more may have arrived after a time than the bandwidth
allows. A slow machine only makes it later.
"""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import aserve
from aserve.config.settings import Settings, SettingsError
from aserve.http1.limits import Limits
from aserve.linux import pacing
from aserve.linux.pacing import limit_bandwidth
from aserve.transport.registry import BY_THE_BOOK, MODELS
from tests.aserve import programs
from tests.aserve.seams.serving import MODEL_PARAMS, TIMEOUT
from tests.aserve.server.test_reload import running
from tests.aserve.tls.issuing import client_context, issue
from tests.marks import slow

BANDWIDTH = 1 << 20
SIZE = 384 << 10
_AT_ONCE = 128 << 10
"""Bytes that may be ahead. The kernel was seen to send 76 KiB, in pieces for a fast network."""

GET = b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: %s\r\n\r\n"
OF_PROCESSES = [
    (name, False)
    for name, row in MODELS.items()
    if row.needs_processes and not row.unavailable_reason()
] + [(name, True) for name in BY_THE_BOOK]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "large").write_bytes(bytes(range(256)) * (SIZE // 256))
    return folder


def download(sock: socket.socket, count: int, began: float, bandwidth: int = BANDWIDTH) -> int:
    """Read until the end; return how many bytes came, none of them too soon after the begin.

    count: how many responses are wanted.
    """
    sock.sendall(GET % b"keep-alive" * (count - 1) + GET % b"close")
    received = 0
    while data := sock.recv(1 << 16):
        received += len(data)
        allowed = _AT_ONCE + bandwidth * (time.monotonic() - began)
        assert received <= allowed
    return received


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), TIMEOUT)


@pytest.mark.parametrize("model", MODEL_PARAMS)
def test_a_response_comes_evenly_and_no_faster(root: Path, model: str) -> None:
    with aserve.Server(root, model=model, bandwidth=BANDWIDTH) as server:
        began = time.monotonic()
        with connect(server.url) as sock:
            assert download(sock, 1, began) > SIZE


@pytest.mark.parametrize(("model", "by_the_book"), [slow(*one) for one in OF_PROCESSES])
def test_so_it_does_from_processes(root: Path, model: str, by_the_book: bool) -> None:
    settings = {"model": model, "by_the_book": by_the_book, "bandwidth": BANDWIDTH}
    with programs.serve(root, **settings) as server:
        began = time.monotonic()
        with connect(server.url) as sock:
            assert download(sock, 1, began) > SIZE


def test_responses_that_are_remembered_come_no_faster(root: Path) -> None:
    """Of both kinds: in one write, and from a file that is kept open."""
    small = (root / "large").read_bytes()[: 24 << 10]
    (root / "large").write_bytes(small)
    with aserve.Server(root, bandwidth=BANDWIDTH) as server:
        began = time.monotonic()
        with connect(server.url) as sock:
            assert download(sock, 16, began) > 16 * len(small)


def test_tls_comes_no_faster(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    pair = issue(tmp_path_factory.mktemp("tls"), "a")
    files = {"cert": (pair.cert,), "key": (pair.key,)}
    with aserve.Server(root, bandwidth=BANDWIDTH, **files) as server:
        began = time.monotonic()
        raw = connect(server.url)
        with client_context().wrap_socket(raw, server_hostname="localhost") as sock:
            assert download(sock, 1, began) > SIZE


@pytest.mark.parametrize(("grace", "is_whole"), [(TIMEOUT, True), (0, False)])
def test_a_stop_waits_for_what_is_sent_slowly_as_long_as_for_anything(
    root: Path, grace: float, is_whole: bool
) -> None:
    bandwidth = BANDWIDTH if is_whole else 64 << 10
    with (
        aserve.Server(root, bandwidth=bandwidth, grace=grace) as server,
        connect(server.url) as sock,
        ThreadPoolExecutor(1) as pool,
    ):
        sock.sendall(GET % b"close")
        received = len(sock.recv(1 << 10))
        stopping = pool.submit(server.stop)
        with suppress(ConnectionResetError):
            while data := sock.recv(1 << 16):
                received += len(data)
        stopping.result(TIMEOUT)
    assert (received > SIZE) == is_whole


def test_a_reload_changes_it_for_new_connections(root: Path) -> None:
    with aserve.Server(root) as server:
        server.reload(bandwidth=BANDWIDTH)
        began = time.monotonic()
        with connect(server.url) as sock:
            assert download(sock, 1, began) > SIZE
        server.reload(bandwidth=0)
        (listener,) = [one for one in server._listeners if one.family == socket.AF_INET]
        assert pacing._rate_of(listener) == pacing._UNLIMITED
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 0


@pytest.mark.parametrize("workers", ["1", slow("2")])
def test_a_reload_of_the_program_changes_it(root: Path, workers: str) -> None:
    (root.parent / "aserve.toml").write_text("root = 'www'")
    with running(root.parent, f"--workers={workers}") as program:
        program.configure("www", f"bandwidth = {BANDWIDTH}")
        assert program.reload() == ""
        began = time.monotonic()
        with program.connect() as sock:
            assert download(sock, 1, began) > SIZE


def test_a_connection_has_the_options_of_its_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        limit_bandwidth([listener], BANDWIDTH)
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert pacing._rate_of(accepted) == BANDWIDTH
            queued = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
            assert queued == BANDWIDTH
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 1_460
        limit_bandwidth([listener], 0)
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert pacing._rate_of(accepted) == pacing._UNLIMITED
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 0
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) > 1_460


def test_a_listener_without_a_limit_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = []
    monkeypatch.setattr(socket.socket, "setsockopt", lambda *given: changed.append(given))
    with socket.socket() as listener:
        limit_bandwidth([listener], 0)
    assert changed == []


@pytest.mark.slow
def test_a_response_that_is_slow_by_our_own_fault_is_not_cut_off(root: Path) -> None:
    """The least that the settings allow for these limits: four seconds, with two deadlines."""
    limits = Limits(transfer_timeout=2, min_rate=10 << 10)
    with aserve.Server(root, limits=limits, bandwidth=86 << 10) as server:
        began = time.monotonic()
        with connect(server.url) as sock:
            assert download(sock, 1, began) > SIZE


@pytest.mark.parametrize(
    ("bandwidth", "limits", "message"),
    [
        (1, Limits(), "bandwidth: must be from 4096 to 1073741824"),
        (1 << 31, Limits(), "bandwidth: must be from 4096 to 1073741824"),
        (
            64 << 10,
            Limits(transfer_timeout=2),
            r"bandwidth: is so low that the limits transfer-timeout \(2\) and min-rate \(256\) ",
        ),
        (1 << 20, Limits(transfer_timeout=1), "bandwidth: is so low"),
    ],
)
def test_what_cannot_work(root: Path, bandwidth: int, limits: Limits, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings(root, bandwidth=bandwidth, limits=limits)


def test_a_system_without_pacing_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "_SO_MAX_PACING_RATE", 9_999)
    with pytest.raises(SettingsError, match="cannot be limited on this system: Protocol not"):
        Settings(root, bandwidth=BANDWIDTH)


@pytest.mark.parametrize("limits", [Limits(min_rate=0, transfer_timeout=1), Limits()])
def test_the_least_bandwidth(root: Path, limits: Limits) -> None:
    assert Settings(root, bandwidth=4_096, limits=limits).bandwidth == 4_096
