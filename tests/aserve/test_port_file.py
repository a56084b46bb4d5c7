"""The option --port-file: a file that is there as long as a server, and whole."""

import os
import socket
from pathlib import Path

import pytest

from aserve.cli.port_file import PortFile, port_file
from aserve.config.settings import SettingsError
from tests.aserve import programs
from tests.aserve.server.test_reload import get, reserved_port, running


@pytest.mark.parametrize("workers", [1, 2])
def test_a_program_that_waits_for_the_file_can_connect(
    directory: Path, tmp_path: Path, workers: int
) -> None:
    file = tmp_path / "port"
    process = programs.start(
        "-q", "--port=0", f"--workers={workers}", "--port-file", file, directory
    )
    try:
        while not file.exists():  # nothing else says when
            assert process.poll() is None
        text = file.read_text()
        assert text.endswith("\n")
        with socket.create_connection(("127.0.0.1", int(text)), 60) as client:
            client.sendall(b"GET /a.txt HTTP/1.0\r\n\r\n")
            assert b"".join(iter(lambda: client.recv(65_536), b"")).endswith(b"alpha")
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.close()
    assert not file.exists()


def test_a_file_that_cannot_be_written_is_one_line(directory: Path, tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "none" / "port", "cannot write"),
        (tmp_path, "is no regular file"),
        (Path("/dev/null"), "is no regular file"),
    ):
        process = programs.start("--port=0", "--port-file", path, directory)
        try:
            _, errors = process.communicate(60)
        finally:
            process.close()
        assert process.returncode == 2
        assert errors.startswith("aserve: error: --port-file: ")
        assert reason in errors
        assert errors.count("\n") == 1
    assert os.listdir(tmp_path) == ["site"]


def test_a_link_leads_to_the_file_that_is_written(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("port")
    file = PortFile(str(tmp_path / "link"))
    file.write(8_000)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "port").read_text() == "8000\n"


def test_what_another_server_has_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "port"
    with port_file(str(path), 8_000, is_first=True):
        path.write_text("8001\n")
    assert path.read_text() == "8001\n"
    with port_file(str(path), 8_000, is_first=True):
        path.write_bytes(b"\xff")
    assert path.read_bytes() == b"\xff"
    with port_file(str(path), 8_000, is_first=True):
        path.unlink()


def test_it_follows_another_port_and_serves_on_if_it_cannot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with port_file(str(folder / "port"), 8_000, is_first=True) as follow:
        follow(8_001)
        assert (folder / "port").read_text() == "8001\n"
        (folder / "port").unlink()
        folder.rmdir()
        follow(8_002)
        assert "port_file: cannot write" in caplog.text
    with pytest.raises(SettingsError), port_file(str(folder / "port"), 8_000, is_first=True):
        pass
    with port_file(str(folder / "port"), 8_000, is_first=False):
        pass


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("alpha", "beta"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(name)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_to_another_port(folders: Path, workers: int) -> None:
    file = folders / "port"
    first = ("port = 0", "port-file = 'port'")  # relative to the file that says so
    options = (f"--workers={workers}",)
    with running(folders, *options, address=("--host=127.0.0.1",), first=first) as program:
        assert file.read_text() == f"{program.port}\n"
        with reserved_port() as port:
            moved = program._replace(port=port)
            program.configure("beta", f"port = {port}", "port-file = 'port'")
            assert program.reload() == ""
            assert file.read_text() == f"{port}\n"
            with moved.connect() as client:
                assert get(client)[0] == b"beta"
    assert not file.exists()
