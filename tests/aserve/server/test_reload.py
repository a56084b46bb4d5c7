"""Reloads and upgrades of the program: what the next request gets, and what is never lost."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
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
    directory: Path, *options: str, address: tuple[str, ...] = ("--port=0", "--host=127.0.0.1")
) -> Iterator[Program]:
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
    checked = Inherited(address=("127.0.0.1", 1), is_check=True)
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


def test_an_address_that_has_changed_is_named_by_its_line(folders: Path) -> None:
    file = folders / "aserve.toml"
    file.write_text("root = 'alpha'\nhost = '127.0.0.1'\nport = 0\n")
    with running(folders, address=()) as program:
        file.write_text(file.read_text().replace("port = 0", "port = 1"))
        reason = "cannot be changed while the server runs; restart it"
        assert program.reload() == f"{file}:3: port: {reason}"
        file.write_text("root = 'alpha'\nport = 0\n")
        assert program.reload() == f"--host: {reason}"
        assert body_on_new_connection(program) == b"alpha"


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
