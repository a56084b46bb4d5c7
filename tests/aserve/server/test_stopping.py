"""Ctrl-C while responses are sent: said once, a second one stops, and the log has what was sent."""

import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from aserve.server.shutdown_report import RemainingReports, format_remaining
from aserve.transport.registry import MODELS

PATIENCE = 20.0
LARGE = 32 << 20
NAMES = [name for name, row in MODELS.items() if not row.unavailable_reason()]
LOGGED = re.compile(r'"GET /large HTTP/1\.1" 200 (\d+) "-" "-"( "cut")?\n')


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stopping")
    (folder / "large").write_bytes(bytes(LARGE))
    return folder


class Running(NamedTuple):
    process: subprocess.Popen[str]
    terminal: int
    port: int
    log: Path

    def line(self) -> str:
        """Return the next line of the terminal, "" for its end."""
        line = b""
        with suppress(OSError):  # EIO: nobody has the other side open any more
            while not line.endswith(b"\n") and (octet := os.read(self.terminal, 1)):
                line += octet
        return line.decode()

    def order(self) -> None:
        self.process.send_signal(signal.SIGINT)


@contextmanager
def serving(folder: Path, log: Path, *options: str) -> Iterator[Running]:
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "aserve", str(folder), "--port", "0"),
            *("--access-log", str(log), *options),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=its,
        text=True,
        start_new_session=True,
    )
    os.close(its)
    try:
        running = Running(process, ours, 0, log)
        banner = [running.line() for _ in range(1 if "--quiet" in options else 4)]
        yield running._replace(port=int(banner[1].strip().rstrip("/").rpartition(":")[2]))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(ours)


def download(port: int, *, slowly: bool = True) -> socket.socket:
    """Begin a download that cannot end before it is read: no sockets hold as much."""
    client = socket.socket()
    client.settimeout(PATIENCE)
    if slowly:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.connect(("127.0.0.1", port))
    client.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.recv(1) == b"H"
    return client


def content_of(client: socket.socket) -> int:
    """Read to the end; return how much content came."""
    reply = b"H"
    with suppress(ConnectionError):
        while octets := client.recv(1 << 18):
            reply += octets
    return len(reply.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one", "workers"])
@pytest.mark.parametrize("name", NAMES)
def test_a_second_order_cuts_what_the_first_one_waits_for(
    name: str, options: tuple[str, ...], folder: Path, tmp_path: Path
) -> None:
    with serving(folder, tmp_path / "log", "--model", name, *options) as server:
        with download(server.port) as client:
            server.order()
            assert server.line().strip() == (
                "aserve: 1 response still being sent; Ctrl-C again stops now"
            )
            server.order()
            assert server.process.wait(PATIENCE) == 0
            received = content_of(client)
        assert server.line() == ""
        assert 0 < received < LARGE
        logged = LOGGED.findall(server.log.read_text())
        assert logged == [(str(received), ' "cut"')]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_client_leaves_is_logged_as_cut(name: str, folder: Path, tmp_path: Path) -> None:
    with serving(folder, tmp_path / "log", "--model", name) as server:
        with download(server.port) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        deadline = time.monotonic() + PATIENCE
        while not (logged := LOGGED.findall(server.log.read_text())):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        server.order()
        assert server.process.wait(PATIENCE) == 0
        assert server.line() == ""  # nothing is waited for
        ((octets, cut),) = logged
        assert cut
        assert 0 < int(octets) < LARGE


@pytest.mark.parametrize("name", NAMES)
def test_two_that_end_in_time_are_complete(name: str, folder: Path, tmp_path: Path) -> None:
    with serving(folder, tmp_path / "log", "--model", name) as server:
        with (
            download(server.port, slowly=False) as first,
            download(server.port, slowly=False) as second,
        ):
            server.order()
            assert server.line().strip() == (
                "aserve: 2 responses still being sent; Ctrl-C again stops now"
            )
            assert content_of(first) == LARGE
            assert content_of(second) == LARGE
        assert server.process.wait(PATIENCE) == 0
        assert LOGGED.findall(server.log.read_text()) == [(str(LARGE), "")] * 2


@pytest.mark.parametrize(
    ("responses", "connections", "line"),
    [
        (0, 0, ""),
        (1, 5, "1 response still being sent; Ctrl-C again stops now"),
        (2, 2, "2 responses still being sent; Ctrl-C again stops now"),
        (0, 1, "1 connection still open; Ctrl-C again stops now"),
        (0, 3, "3 connections still open; Ctrl-C again stops now"),
    ],
)
def test_the_line_has_its_numbers(responses: int, connections: int, line: str) -> None:
    assert format_remaining(responses, connections) == line


def test_it_is_said_when_all_workers_have_reported_or_are_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    remaining = RemainingReports(said.append)
    monkeypatch.setattr(os, "kill", lambda *_: None)
    remaining.expect([1, 2, 3])
    for worker, responses in ((1, 2), (2, 1)):
        monkeypatch.setattr(os, "getpid", lambda worker=worker: worker)
        remaining.send(responses, responses)
        remaining.collect([1, 2, 3])
    assert said == []
    remaining.collect([1, 2])
    remaining.collect([1])
    assert said == ["3 responses still being sent; Ctrl-C again stops now"]
