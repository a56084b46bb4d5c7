"""Reloads and upgrades of the program: what the next request gets, and what is never lost."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from aserve.cli.exit_codes import BAD_PARAMETER, FAILED, OK
from aserve.cli.main import main
from aserve.config.settings import Settings
from aserve.server.control import WatchedFiles
from aserve.server.control_socket import RunningServer, find_servers, request_reload
from aserve.server.inheritance import Inherited
from aserve.server.shared_settings import SharedSettings
from aserve.transport.registry import DEFAULT, MODELS
from tests.aserve import programs
from tests.aserve.access.test_passwords import BCRYPT
from tests.fork_server import BlockingProgram
from tests.marks import slow, slow_except

NAMES = [name for name, info in MODELS.items() if not info.unavailable_reason()]
BODY = re.compile(rb"\r\n\r\n(\w+)\Z")


class Program(NamedTuple):
    process: BlockingProgram
    port: int
    directory: Path

    def configure(self, folder: str, *lines: str) -> None:
        text = "\n".join((f'root = "{folder}"', *lines))
        (self.directory / "aserve.toml").write_text(f"{text}\n")

    def reload(self) -> str:
        return request_reload(RunningServer(self.process.pid, self.port))

    def read_line(self) -> str:
        """Return the next line that it prints after the banner."""
        assert self.process.stderr
        lines = iter(self.process.stderr.readline, "")
        return next(line for line in lines if line.startswith("aserve:"))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("alpha", "beta"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(name)
    (tmp_path / "aserve.toml").write_text('root = "alpha"\n')
    return tmp_path


@contextmanager
def running(
    directory: Path,
    *options: str,
    address: tuple[str, ...] = ("--port=0", "--host=127.0.0.1"),
    first: tuple[str, ...] = (),
) -> Iterator[Program]:
    """Run a program in one of the folders. first: lines of its first configuration."""
    if first:
        (directory / "aserve.toml").write_text("\n".join(("root = 'alpha'", *first, "")))
    config = f"--config={directory / 'aserve.toml'}"
    process = programs.start(*address, config, *options)
    try:
        assert process.stderr
        banner = "".join(process.stderr.readline() for _ in range(2))
        found = re.search(r":(\d+)/", banner)
        assert found, banner
        yield Program(process, int(found[1]), directory)
        process.terminate()
        _, errors = process.communicate(60)
        assert process.returncode == 0, errors
    finally:
        process.close()


def get(client: socket.socket) -> tuple[bytes, bool]:
    """Return the body of the next response, and whether the connection closes after it."""
    client.sendall(b"GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n")
    received = b""
    while not (found := BODY.search(received)):
        data = client.recv(65_536)
        assert data, received
        received += data
    return found[1], b"connection: close" in received.lower()


def bodies_until_closed(client: socket.socket) -> set[bytes]:
    """Ask until the server closes the connection, which it does once its worker was told to."""
    bodies, closes = set(), False
    while not closes:
        body, closes = get(client)
        bodies.add(body)
    assert client.recv(1) == b""
    return bodies


def connect_to_new_worker(program: Program, body: bytes) -> socket.socket:
    """Connect until it is not a retired worker that accepts: one may, until its signal arrives."""
    while True:
        client = program.connect()
        if get(client) == (body, False):
            return client
        client.close()


def body_on_new_connection(program: Program) -> bytes:
    with closing(program.connect()) as client:
        return get(client)[0]


@pytest.mark.parametrize("model", slow_except(NAMES, DEFAULT, "fork", "epoll"))
def test_a_kept_connection_gets_the_new_settings_at_its_next_request(
    folders: Path, model: str
) -> None:
    with running(folders, f"--model={model}") as program, closing(program.connect()) as client:
        assert get(client) == (b"alpha", False)
        for folder in (b"beta", b"alpha"):
            program.configure(folder.decode())
            assert program.reload() == ""
            assert get(client) == (folder, False)
        program.configure("beta")
        (folders / "aserve.toml").write_text('root = "beta"\nlisting = "maybe"\n')
        assert "aserve.toml:2" in program.reload()
        assert get(client) == (b"alpha", False)


@pytest.mark.parametrize("workers", [2, slow(8)])
def test_another_number_of_workers(folders: Path, workers: int) -> None:
    with (
        running(folders, f"--workers={workers}", "--access-log=off") as program,
        closing(program.connect()) as first,
    ):
        assert get(first) == (b"alpha", False)
        program.configure("beta", "threads = 3")
        assert program.reload() == ""
        assert get(first) == (b"beta", False)


def test_retired_workers_answer_each_connection_once_more(folders: Path) -> None:
    (folders / "aserve.toml").write_text('root = "alpha"\nworkers = 2\n')
    with running(folders) as program, closing(program.connect()) as client:
        assert get(client) == (b"alpha", False)
        program.configure("beta", "workers = 3")
        assert program.reload() == ""
        with closing(connect_to_new_worker(program, b"beta")) as another:
            program.configure("alpha", "workers = 2")
            assert program.reload() == ""  # which the retired ones follow as well
            for retired in (client, another):
                assert bodies_until_closed(retired) == {b"alpha"}
        for _ in range(20):
            assert body_on_new_connection(program) == b"alpha"


@pytest.mark.slow
def test_sighup_and_a_changed_file_reload(folders: Path) -> None:
    with running(folders, "--watch-config") as program, closing(program.connect()) as client:
        program.configure("beta")
        while get(client) != (b"beta", False):
            pass
    with running(folders) as program, closing(program.connect()) as client:
        program.configure("alpha")
        program.process.send_signal(signal.SIGHUP)
        while get(client) != (b"alpha", False):
            pass


def test_an_error_after_sighup_is_printed_and_nothing_changes(folders: Path) -> None:
    with running(folders) as program, closing(program.connect()) as client:
        (folders / "aserve.toml").write_text('rot = "beta"\n')
        program.process.send_signal(signal.SIGHUP)
        assert program.process.stderr
        lines = iter(program.process.stderr.readline, "")
        assert "aserve.toml:1" in next(line for line in lines if "reload: " in line)
        assert get(client) == (b"alpha", False)


def test_a_broken_password_file_changes_nothing(folders: Path) -> None:
    users = folders / "users"
    users.write_text(f"ann:{BCRYPT}\n")
    first = ('htpasswd = "users"', 'readers = "anyone"')
    with running(folders, first=first) as program, closing(program.connect()) as client:
        users.write_text("ann:secret\n")
        assert "users:1: has no hash of bcrypt" in program.reload()
        assert get(client) == (b"alpha", False)
        users.write_text(f"ben:{BCRYPT}\n")
        assert "no hash" not in program.reload()
        assert get(client) == (b"alpha", False)


@pytest.mark.slow
def test_a_changed_password_file_reloads(folders: Path) -> None:
    users = folders / "users"
    users.write_text(f"ann:{BCRYPT}\n")
    first = ('htpasswd = "users"',)
    with running(folders, "--watch-config", first=first) as program:
        assert status_of(program, "ben:secret") == 401
        users.write_text(f"ben:{BCRYPT}\n")
        while status_of(program, "ben:secret") == 401:  # it has settled after a second
            pass
        assert status_of(program, "ben:secret") == 200
        assert status_of(program, "ann:secret") == 401


def status_of(program: Program, login: str) -> int:
    text = b64encode(login.encode()).decode()
    request = f"GET /a.txt HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {text}\r\n\r\n"
    with closing(program.connect()) as client:
        client.sendall(request.encode())
        return int(client.recv(65_536).split(b" ", 2)[1])


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--workers=2",), (), ("--model=epoll",)])
def test_an_upgrade_in_place(folders: Path, options: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "aserve", "--port=0", "--host=127.0.0.1", *options]
    with subprocess.Popen(command, cwd=folders, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            banner = "".join(process.stderr.readline() for _ in range(2))
            port = int(re.search(r":(\d+)/", banner)[1])  # type: ignore[index]
            server = RunningServer(process.pid, port)
            with socket.create_connection(("127.0.0.1", port), timeout=60) as kept:
                assert get(kept) == (b"alpha", False)
                (folders / "aserve.toml").write_text('rot = "beta"\n')
                process.send_signal(signal.SIGUSR2)
                lines = iter(process.stderr.readline, "")
                assert "aserve.toml:1" in next(line for line in lines if "upgrade: " in line)
                (folders / "aserve.toml").write_text('root = "beta"\n')
                process.send_signal(signal.SIGUSR2)
                while True:
                    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                        if get(client)[0] == b"beta":
                            break
                (folders / "aserve.toml").write_text('root = "alpha"\n')
                assert request_reload(server) == ""  # of both programs
                assert get(kept) == (b"alpha", True)
                assert kept.recv(1) == b""
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()


@pytest.mark.slow
def test_a_program_that_is_broken_meanwhile_changes_nothing(folders: Path) -> None:
    program = folders / "program.py"
    program.write_text("from aserve.__main__ import main\nmain()\n")
    command = [sys.executable, program, "--port=0", "--host=127.0.0.1"]
    with subprocess.Popen(command, cwd=folders, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            banner = "".join(process.stderr.readline() for _ in range(2))
            port = int(re.search(r":(\d+)/", banner)[1])  # type: ignore[index]
            program.write_text("raise SystemExit('it is broken')\n")
            (folders / "aserve.toml").write_text('root = "beta"\nworkers = 2\n')
            with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                assert request_reload(RunningServer(process.pid, port)) == "it is broken"
                assert get(client) == (b"alpha", False)
                process.send_signal(signal.SIGUSR2)
                lines = iter(process.stderr.readline, "")
                assert "it is broken" in next(line for line in lines if "upgrade: " in line)
                assert get(client) == (b"alpha", False)
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_an_upgrade_keeps_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another one could be taken, and then there would be no server any more."""
    checked = Inherited(check=("127.0.0.1", 1))
    for port, code in (("1", OK), ("2", FAILED)):
        monkeypatch.setenv("_ASERVE_INHERITED", json.dumps(checked._asdict()))
        with pytest.raises(SystemExit) as exit_info:
            main([str(tmp_path), "--config=off", "--host=127.0.0.1", f"--port={port}"])
        assert exit_info.value.code == code
    assert "--port" in capsys.readouterr().err


def run_reload(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main(["reload", *arguments])
    assert isinstance(exit_info.value.code, int)
    return exit_info.value.code


def test_the_command_reloads_the_server_on_a_port(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(folders) as program:
        port = str(program.port)
        assert run_reload(port) == OK
        assert capsys.readouterr().err == ""
        (folders / "aserve.toml").write_text('rot = "beta"\n')
        assert run_reload(port) == FAILED
        assert "aserve.toml:1" in capsys.readouterr().err
    assert run_reload(port) == FAILED
    assert port in capsys.readouterr().err
    assert run_reload("http") == BAD_PARAMETER
    assert "PORT" in capsys.readouterr().err


def wait_until_refused(port: int, host: str = "127.0.0.1") -> None:
    """Connect until that is refused, as it is once a former address is left."""
    while True:
        try:
            socket.create_connection((host, port), timeout=60).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:  # the socket was closed in this moment
            pass


@contextmanager
def reserved_port() -> Iterator[int]:
    """Yield a port that is bound and not listened on: only who is told its number takes it."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


KINDS_OF_PROGRAMS = [
    pytest.param(("--workers=2",), id="workers"),
    pytest.param((), id="one process", marks=pytest.mark.slow),
    pytest.param(("--model=fork",), id="fork", marks=pytest.mark.slow),
    pytest.param(("--model=epoll",), id="epoll", marks=pytest.mark.slow),
]


@pytest.mark.slow
@pytest.mark.parametrize("options", KINDS_OF_PROGRAMS)
def test_another_port(folders: Path, options: tuple[str, ...]) -> None:
    """The former address is accepted on a little longer, for those who are on their way to it."""
    with (
        running(folders, *options, address=("--host=127.0.0.1",), first=("port = 0",)) as program,
        closing(program.connect()) as kept,
        reserved_port() as port,
    ):
        assert get(kept) == (b"alpha", False)
        moved = program._replace(port=port)
        program.configure("beta", f"port = {moved.port}")
        with closing(program.connect()) as connected:
            assert program.reload() == ""
            assert body_on_new_connection(moved) == b"beta"
            assert f"http://127.0.0.1:{moved.port}/" in program.read_line()
            assert bodies_until_closed(kept) == {b"beta"}
            assert bodies_until_closed(connected) == {b"beta"}
        wait_until_refused(program.port)
        assert find_servers(program.port) == []
        program.configure("alpha", f"port = {moved.port}")
        assert moved.reload() == ""
        assert body_on_new_connection(moved) == b"alpha"


@pytest.mark.slow
def test_another_port_of_processes_that_wait_in_accept(folders: Path) -> None:
    options, address = ("--model=prefork", "--workers=2"), ("--host=127.0.0.1",)
    with (
        running(folders, *options, address=address, first=("port = 0",)) as program,
        reserved_port() as port,
    ):
        moved = program._replace(port=port)
        program.configure("beta", f"port = {moved.port}")
        assert program.reload() == ""
        assert body_on_new_connection(moved) == b"beta"
        wait_until_refused(program.port)


def body_of_either_socket(program: Program) -> bytes:
    """Ask what listens on an address, or on one that includes it; the former may just be closed."""
    while True:
        with suppress(ConnectionResetError, BrokenPipeError):
            return body_on_new_connection(program)


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--workers=2",)], ids=["one", "two"])
def test_another_host_with_the_same_port(folders: Path, options: tuple[str, ...]) -> None:
    """What both have is not opened again; a wildcard includes the address that is left."""
    first = ("host = '127.0.0.1'",)
    with running(folders, *options, address=("--port=0",), first=first) as program:
        for host in ("localhost", "0.0.0.0", "127.0.0.1"):
            program.configure("beta", f"host = '{host}'")
            assert program.reload() == ""
            assert body_of_either_socket(program) == b"beta"
        program.configure("beta", "host = '127.0.0.2'")
        assert program.reload() == ""
        wait_until_refused(program.port)
        with closing(socket.create_connection(("127.0.0.2", program.port), 60)) as client:
            assert get(client)[0] == b"beta"


def test_an_address_that_is_taken_changes_nothing(folders: Path) -> None:
    file = folders / "aserve.toml"
    first = ("host = '127.0.0.1'", "port = 0")
    with (
        running(folders, "--workers=2", address=(), first=first) as program,
        socket.create_server(("127.0.0.1", 0)) as other,
        reserved_port() as port,
    ):
        taken = other.getsockname()[1]
        program.configure("beta", "host = '127.0.0.1'", f"port = {taken}")
        assert program.reload() == f"{file}:3: port: {taken} is taken on 127.0.0.1"
        assert body_on_new_connection(program) == b"alpha"
        program.configure("beta", "host = '192.0.2.1'", "port = 0")
        assert program.reload().startswith(f"{file}:2: host: cannot listen on 192.0.2.1")
        program.configure("beta", "host = '127.0.0.1'", f"port = {program.port}")
        assert program.reload() == ""  # where it listens already
        with closing(program.connect()) as client:
            assert get(client) == (b"beta", False)
            moved = program._replace(port=port)
            program.configure("alpha", "host = '127.0.0.1'", f"port = {moved.port}")
            assert program.reload() == ""
            assert body_on_new_connection(moved) == b"alpha"
            assert get(client)[0] == b"alpha"


@pytest.mark.parametrize("options", KINDS_OF_PROGRAMS)
def test_another_access_log(folders: Path, options: tuple[str, ...]) -> None:
    """Each response has one line: in the log of the process that has made it."""
    first, second = folders / "first.log", folders / "second.log"
    with (
        running(folders, *options, first=(f"access-log = '{first}'",)) as program,
        closing(program.connect()) as kept,
    ):
        assert get(kept) == (b"alpha", False)
        program.configure("beta", f"access-log = '{folders}'")
        assert "access-log: cannot write" in program.reload()
        assert get(kept) == (b"alpha", False)
        program.configure("beta", f"access-log = '{second}'")
        assert program.reload() == ""
        responses = 3
        while not get(kept)[1]:
            responses += 1
        while not second.exists() or not second.read_text():  # former processes may accept as well
            assert body_on_new_connection(program) == b"beta"
            responses += 1
    lines = [*first.read_text().splitlines(), *second.read_text().splitlines()]
    assert len(lines) == responses


@pytest.mark.slow
def test_a_log_that_is_turned_off_and_on(folders: Path) -> None:
    log = folders / "access.log"
    with running(folders, "--workers=2", first=("access-log = 'off'",)) as program:
        for target, is_open in (("access.log", True), ("off", False)):
            program.configure("beta", f"access-log = '{target}'")
            assert program.reload() == ""
            while is_open and not (log.exists() and log.read_text()):
                assert body_on_new_connection(program) == b"beta"
        with closing(program.connect()) as client:
            assert get(client)[0] == b"beta"
    assert log.read_text().endswith("\n")


def test_only_the_user_of_a_server_finds_it(folders: Path, nobody: None) -> None:
    """The test runs as another user than the server, if it began as root."""
    with running(folders) as program:
        found = RunningServer(program.process.pid, program.port) in find_servers()
        status = Path(f"/proc/{program.process.pid}/status").read_text()
        _, owner = re.search(r"Uid:\t(\d+)\t(\d+)", status).groups()  # type: ignore[union-attr]
        assert found == (os.geteuid() in {0, int(owner)})


def test_settings_that_are_shared_are_found_once(tmp_path: Path) -> None:
    shared = SharedSettings()
    assert shared.read_new() is None
    reader = SharedSettings.__new__(SharedSettings)
    reader.__dict__.update(shared.__dict__)  # as in a process that was forked
    for port in (1, 2, 3):
        shared.publish(Settings(tmp_path, port=port))
    assert shared.read_new() is None
    assert reader.read_new() == Settings(tmp_path, port=3)
    assert reader.read_new() is None


def test_a_change_of_a_file_counts_once_it_has_settled(tmp_path: Path) -> None:
    file = tmp_path / "aserve.toml"
    watched = WatchedFiles([file])
    assert not watched.have_changed()
    for text in ("a", "ab", "abc"):
        file.write_text(text)
        assert not watched.have_changed()
    assert watched.have_changed()
    assert not watched.have_changed()
    file.unlink()
    assert not watched.have_changed()
    assert watched.have_changed()
    assert not WatchedFiles([])
