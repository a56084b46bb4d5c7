"""One client after the other, a process for each client, and processes that share a socket."""

import linecache
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest

import aserve
from aserve.config.settings import Settings, SettingsError
from aserve.filesystem.mounts import Mounts
from aserve.http1.limits import Limits
from aserve.server.site_factory import build_site
from aserve.transport.models.iterative import IterativeServer, YieldingConnection
from tests.aserve import programs
from tests.conformance.serving import running
from tests.fork_server import BlockingProgram
from tests.marks import slow, slow_except

TIMEOUT = 60.0
PACKAGE = str(Path(aserve.__file__).parent)
ERROR_IN_CHILD = """
from aserve.__main__ import main
from aserve.policies.site import Site

def fail(*_):
    raise ZeroDivisionError

Site._respond = fail
main()
"""
NO_FORK = """
import os
from aserve.__main__ import main

fork, calls = os.fork, []

def fail_at_the_second_call():
    calls.append(1)
    if len(calls) == 2:  # the first one is the supervisor's, for the server
        raise BlockingIOError(11, "no more processes")
    return fork()

os.fork = fail_at_the_second_call
main()
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("processes")
    (directory / "small").write_bytes(b"small")
    return directory


def request(*, closes: bool = False) -> bytes:
    option = "Connection: close\r\n" if closes else ""
    return f"GET /small HTTP/1.1\r\nHost: a\r\n{option}\r\n".encode()


def read_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(1 << 16), b""))


def connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, TIMEOUT)


def ask(client: socket.socket, *, closes: bool = False) -> bytes:
    """Send a request, and return its response, of which all is in one segment."""
    client.sendall(request(closes=closes))
    return read_all(client) if closes else client.recv(1 << 16)


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def sockets_of(pid: int) -> set[str]:
    """Return the inodes of the sockets that a process has open."""
    links = [os.readlink(one) for one in Path(f"/proc/{pid}/fd").iterdir()]
    return {link[8:-1] for link in links if link.startswith("socket:[")}


def listening_inodes(port: int) -> list[str]:
    """Return the inodes of the sockets that listen on a port: proc(5), state 0A."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row[9] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port]


class Program(NamedTuple):
    process: BlockingProgram
    address: tuple[str, int]

    @property
    def server_pid(self) -> int:
        """The process that accepts, which is the child of the supervisor."""
        return self.wait_for_workers(1)[0]

    def wait_for_workers(self, count: int) -> list[int]:
        """Return the processes that serve, which start after the banner."""
        while len(pids := children_of(self.process.pid)) < count:
            time.sleep(0.001)
        return pids

    def read_error(self) -> str:
        return self.process.stderr.readline()

    def stop(self) -> str:
        """Stop, and return what is left of the messages."""
        self.process.terminate()
        _, errors = self.process.communicate(TIMEOUT)
        assert self.process.returncode == 0
        return errors


@contextmanager
def program(directory: Path, *options: object, code: str = "") -> Iterator[Program]:
    words = (directory, "--port", 0, "--host", "127.0.0.1", *options)
    process = programs.start_code(code, *words) if code else programs.start(*words)
    try:
        banner = [process.stderr.readline() for _ in range(4)]
        port = int(banner[1].rstrip("/\n").rpartition(":")[2])
        yield Program(process, ("127.0.0.1", port))
    finally:
        process.close()


# Iterative, and each process of prefork.


@pytest.mark.parametrize("host", ["127.0.0.1", slow("localhost")])
def test_a_response_is_the_last_one_if_others_wait(
    directory: Path, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # After a second, a tick would close the first client.
    monkeypatch.setattr(YieldingConnection, "tick", lambda _: None)
    with (
        running(directory, model="iterative", host=host) as address,
        connect(address) as first,
    ):
        assert b"\r\nConnection: close\r\n" not in ask(first)
        with connect(address) as second:  # whose connection is in the queue of the kernel now
            assert b"\r\nConnection: close\r\n" in ask(first)
            assert first.recv(1) == b""
            first.close()
            assert ask(second).endswith(b"\r\n\r\nsmall")


def test_a_silent_client_is_closed_when_others_wait(directory: Path) -> None:
    with (
        running(directory, model="iterative") as address,
        connect(address) as silent,
        connect(address) as second,
    ):
        assert ask(second).endswith(b"\r\n\r\nsmall")
        assert silent.recv(1) == b""


def interrupted_line(step: int, directory: Path) -> str:
    """Run a server that is told to stop before one of its lines, and return that line.

    step: how many lines of the package are run before, from the call of run on.
    """
    server = IterativeServer(build_site(Settings(directory), Mounts()), Limits())
    control, write_end = os.pipe()
    lines = count()
    interrupted: list[str] = []

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line" and next(lines) == step:
            interrupted.append(linecache.getline(frame.f_code.co_filename, frame.f_lineno))
            server.interrupt()
            os.close(write_end)
        return trace

    with socket.create_server(("127.0.0.1", 0)) as listener, os.fdopen(control):
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            server.run([listener], (control,), grace=0)
        finally:
            sys.settrace(before)
    return interrupted[0]


def test_a_signal_between_any_two_steps_of_the_start_is_a_stop(directory: Path) -> None:
    lines = (interrupted_line(step, directory).strip() for step in count())
    assert next(line for line in lines if line.endswith(" = accept()"))


def test_an_accept_that_is_interrupted_is_the_last_one(directory: Path) -> None:
    server = IterativeServer(build_site(Settings(directory), Mounts()), Limits())
    control, write_end = os.pipe()
    accepts = count()

    class Listener(socket.socket):
        def accept(self) -> tuple[socket.socket, Any]:
            if not next(accepts):  # as a signal handler does that runs before the call
                server.interrupt()
                os.close(write_end)
            return super().accept()

    address = socket.create_server(("127.0.0.1", 0))
    with Listener(fileno=address.detach()) as listener, os.fdopen(control):
        server.run([listener], (control,), grace=0)
    assert next(accepts) == 1


def test_workers_of_prefork_accept_on_one_socket(directory: Path) -> None:
    with program(directory, "--model", "prefork", "--workers", 3) as server:
        (inode,) = listening_inodes(server.address[1])
        workers = server.wait_for_workers(3)
        clients = []
        for _ in workers:
            clients.append(connect(server.address))
            assert b"\r\nConnection: close\r\n" not in ask(clients[-1])
        assert all(inode in sockets_of(pid) for pid in workers)
        for client in clients:
            client.close()
        assert server.stop() == ""


# Fork.


def test_each_client_has_a_child_which_has_nothing_of_the_others(directory: Path) -> None:
    with program(directory, "--model", "fork") as server:
        clients = [connect(server.address) for _ in range(3)]
        for client in clients:
            assert ask(client).endswith(b"\r\n\r\nsmall")
        children = children_of(server.server_pid)
        assert len(children) == len(clients)
        (inode,) = listening_inodes(server.address[1])
        assert inode in sockets_of(server.server_pid)
        own = [sockets_of(pid) for pid in children]
        assert all(len(sockets) == len(own[0]) for sockets in own)
        assert inode not in set.union(*own)
        assert not set.intersection(*own) & sockets_of(server.server_pid)
        for client in clients:
            client.close()
        assert server.stop() == ""


def test_a_child_that_is_killed_takes_no_other_client_along(directory: Path) -> None:
    with program(directory, "--model", "fork") as server, connect(server.address) as other:
        assert ask(other).endswith(b"small")
        (other_pid,) = children_of(server.server_pid)
        with connect(server.address) as client:
            ask(client)
            (pid,) = set(children_of(server.server_pid)) - {other_pid}
            os.kill(pid, signal.SIGKILL)
            assert client.recv(1) == b""
        expected = f"aserve: child {pid}, which served 127.0.0.1, ended with SIGKILL\n"
        assert server.read_error() == expected
        assert children_of(server.server_pid) == [other_pid]  # and no zombie
        assert ask(other).endswith(b"small")
        assert server.stop() == ""


def test_an_internal_error_in_a_child_is_500_and_a_line(directory: Path) -> None:
    with program(directory, "--model", "fork", code=ERROR_IN_CHILD) as server:
        with connect(server.address) as client:
            assert ask(client, closes=True).startswith(b"HTTP/1.1 500 ")
        assert re.fullmatch(
            r"aserve: internal error: ZeroDivisionError\(\).*127\.0\.0\.1\n", server.read_error()
        )
        assert server.stop() == ""


@pytest.mark.parametrize("name", ["max-connections", slow("max-connections-per-ip")])
def test_one_client_too_many_gets_503_until_a_child_has_ended(directory: Path, name: str) -> None:
    with program(directory, "--model", "fork", "--limit", f"{name}=1") as server:
        with connect(server.address) as client:
            ask(client)
            for _ in range(30):
                with connect(server.address) as other:
                    assert read_all(other).startswith(b"HTTP/1.1 503 ")
        while True:  # until the child is collected
            with connect(server.address) as client:
                if ask(client, closes=True).startswith(b"HTTP/1.1 200 "):
                    break
        assert server.stop() == ""


def test_a_client_for_whom_there_is_no_process_gets_503(directory: Path) -> None:
    with program(directory, "--model", "fork", code=NO_FORK) as server:
        with connect(server.address) as client:
            assert read_all(client).startswith(b"HTTP/1.1 503 ")
        with connect(server.address) as client:
            assert ask(client).endswith(b"small")
        assert server.stop() == ""


@pytest.mark.parametrize("model", slow_except(["fork", "prefork", "iterative"], "fork"))
def test_no_line_of_the_log_is_torn_or_lost(model: str, directory: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    clients = 24
    with program(directory, "--model", model, "--access-log", log) as server:
        opened = [connect(server.address) for _ in range(clients)]
        for client in opened:
            client.sendall(request(closes=True))
        for client in opened:
            assert read_all(client).endswith(b"small")
            client.close()
        assert server.stop() == ""
    line = re.compile(r'127\.0\.0\.1 - - \[[^]]+\] "GET /small HTTP/1\.1" 200 5 "-" "-"\n')
    assert len(line.findall(log.read_text())) == clients
    assert line.sub("", log.read_text()) == ""


def test_the_end_of_the_process_of_the_log_is_reported(directory: Path, tmp_path: Path) -> None:
    with program(directory, "--model", "fork", "--access-log", tmp_path / "log") as server:
        with connect(server.address) as client:
            ask(client, closes=True)
            log_pid = children_of(server.server_pid)[0]  # the first, before there are clients
        os.kill(log_pid, signal.SIGKILL)
        expected = "access log: its process ended with SIGKILL; no more lines are written"
        assert expected in server.read_error()
        with connect(server.address) as client:
            assert ask(client, closes=True).endswith(b"small")
        assert server.stop() == ""


def test_children_do_not_outlive_the_process_that_forked_them(directory: Path) -> None:
    with program(directory, "--model", "fork") as server, connect(server.address) as client:
        ask(client)
        pid = server.server_pid
        os.kill(pid, signal.SIGKILL)
        assert client.recv(1) == b""  # within a second, where the child waits for its client
        assert f"worker {pid} ended with SIGKILL" in server.read_error()
        with connect(server.address) as other:
            assert ask(other).endswith(b"small")
        assert server.stop() == ""


# Inside a program.


@pytest.mark.parametrize("model", ["fork", "prefork"])
def test_a_program_cannot_have_a_server_that_forks(directory: Path, model: str) -> None:
    with pytest.raises(SettingsError) as caught:
        aserve.Server(directory, model=model)
    assert str(caught.value) == (
        f"model: {model} forks, which a program with threads must not; run aserve --model {model}"
    )


def test_prefork_needs_several_workers(directory: Path) -> None:
    with pytest.raises(SettingsError, match=r"^workers: the model prefork needs at least 2$"):
        aserve.Settings(directory, model="prefork")
