"""Ctrl-C while responses are sent: one message, and a second Ctrl-C stops; the log is exact."""

import os
import pty
import re
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from aserve.server.control_socket import RunningServer as RunningProgram
from aserve.server.control_socket import request_reload
from aserve.server.shutdown_report import RemainingReports, format_remaining
from aserve.transport.registry import DEFAULT, MODELS
from tests.aserve import programs
from tests.fork_server import BlockingProgram
from tests.marks import slow_except

TIMEOUT_S = 60.0
LARGE = 32 << 20
NAMES = [name for name, info in MODELS.items() if not info.unavailable_reason()]
# Without a grace period that could be over on a slow machine: responses end, or a signal cuts them.
PROGRAM = """
from functools import partial
from aserve.__main__ import main
from aserve.config import configuration

configuration.Settings = partial(configuration.Settings, grace=3600)
main()
"""
LOGGED = re.compile(r'"GET /large HTTP/1\.1" 200 (\d+) "-" "-"( "cut")?\n')


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("stopping")
    (directory / "large").write_bytes(bytes(LARGE))
    return directory


class RunningServer(NamedTuple):
    process: BlockingProgram
    terminal: int
    port: int
    log: Path

    def read_line(self) -> str:
        """Return the next line on the terminal, "" at its end."""
        line = b""
        with suppress(OSError):  # EIO: the other side is closed
            while not line.endswith(b"\n") and (byte := os.read(self.terminal, 1)):
                line += byte
        return line.decode()

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)


@contextmanager
def serving(directory: Path, log: Path, *options: str) -> Iterator[RunningServer]:
    terminal, process_side = pty.openpty()
    arguments = (directory, "--port", 0, "--access-log", log, *options)
    process = programs.start_code(PROGRAM, *arguments, stderr=process_side, new_session=True)
    os.close(process_side)
    try:
        running = RunningServer(process, terminal, 0, log)
        banner = [running.read_line() for _ in range(1 if "--quiet" in options else 4)]
        yield running._replace(port=int(banner[1].strip().rstrip("/").rpartition(":")[2]))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.close()
        os.close(terminal)


def download(port: int, *, small_buffer: bool = True) -> socket.socket:
    """Start a download that cannot end before it is read: socket buffers hold less than that."""
    client = socket.socket()
    client.settimeout(TIMEOUT_S)
    if small_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.connect(("127.0.0.1", port))
    client.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert client.recv(1) == b"H"
    return client


def read_body(client: socket.socket) -> int:
    """Read to the end; return the size of the body."""
    response = bytearray(b"H")
    with suppress(ConnectionError):
        while data := client.recv(1 << 18):
            response += data
    return len(response) - response.index(b"\r\n\r\n") - 4


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one", "workers"])
@pytest.mark.parametrize("name", slow_except(NAMES, DEFAULT))
def test_a_second_ctrl_c_cuts_the_responses_in_progress(
    name: str, options: tuple[str, ...], directory: Path, tmp_path: Path
) -> None:
    with serving(directory, tmp_path / "log", "--model", name, *options) as server:
        with download(server.port) as client:
            server.interrupt()
            assert server.read_line().strip() == (
                "aserve: 1 response still being sent; Ctrl-C again stops now"
            )
            server.interrupt()
            assert server.process.wait(TIMEOUT_S) == 0
            received = read_body(client)
        assert server.read_line() == ""
        assert 0 < received < LARGE
        logged = LOGGED.findall(server.log.read_text())
        assert logged == [(str(received), ' "cut"')]


@pytest.mark.parametrize("options", [(), ("--workers=2",), ("--model=epoll",)])
def test_a_server_that_stops_neither_reloads_nor_is_upgraded(
    options: tuple[str, ...], directory: Path, tmp_path: Path
) -> None:
    with serving(directory, tmp_path / "log", *options) as server, download(server.port):
        server.interrupt()
        assert "still being sent" in server.read_line()
        server.process.send_signal(signal.SIGUSR2)
        reason = request_reload(RunningProgram(server.process.pid, server.port))
        assert reason == "the server is stopping"
        server.interrupt()
        assert server.process.wait(TIMEOUT_S) == 0
        assert server.read_line() == ""


@pytest.mark.parametrize("name", slow_except(NAMES, DEFAULT))
def test_a_response_that_the_client_aborts_is_logged_as_cut(
    name: str, directory: Path, tmp_path: Path
) -> None:
    with serving(directory, tmp_path / "log", "--model", name) as server:
        with download(server.port) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        deadline = time.monotonic() + TIMEOUT_S
        while not (logged := LOGGED.findall(server.log.read_text())):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        server.interrupt()
        assert server.process.wait(TIMEOUT_S) == 0
        assert server.read_line() == ""  # nothing to wait for
        ((size, cut),) = logged
        assert cut
        assert 0 < int(size) < LARGE


@pytest.mark.parametrize(
    "name", slow_except([name for name in NAMES if name != "iterative"], DEFAULT)
)
def test_responses_that_end_in_time_are_complete(
    name: str, directory: Path, tmp_path: Path
) -> None:
    with serving(directory, tmp_path / "log", "--model", name) as server:
        with (
            download(server.port, small_buffer=False) as first,
            download(server.port, small_buffer=False) as second,
        ):
            server.interrupt()
            assert server.read_line().strip() == (
                "aserve: 2 responses still being sent; Ctrl-C again stops now"
            )
            assert read_body(first) == LARGE
            assert read_body(second) == LARGE
        assert server.process.wait(TIMEOUT_S) == 0
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
def test_the_message_has_the_numbers(responses: int, connections: int, line: str) -> None:
    assert format_remaining(responses, connections) == line


def test_the_message_is_printed_when_all_workers_have_reported_or_exited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    printed: list[str] = []
    remaining = RemainingReports(printed.append)
    monkeypatch.setattr(os, "kill", lambda *_: None)
    remaining.expect([1, 2, 3])
    for pid, responses in ((1, 2), (2, 1)):
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        remaining.send(responses, responses)
        remaining.collect([1, 2, 3])
    assert printed == []
    remaining.collect([1, 2])
    remaining.collect([1])
    assert printed == ["3 responses still being sent; Ctrl-C again stops now"]
