"""Programs that end by themselves: after downloads, after a time, without requests."""

import os
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.aserve import programs
from tests.aserve.server.test_reload import running
from tests.fork_server import BlockingProgram
from tests.marks import slow_except

HUGE = 64 << 20  # bytes: more than the buffers of both sockets ever hold (tcp_wmem, tcp_rmem)
CLOSING = {"Connection": "close"}  # so that one worker after another is asked


class Server(NamedTuple):
    process: BlockingProgram
    url: str

    def get(self, path: str, method: str = "GET", **headers: str) -> int:
        request = urllib.request.Request(
            self.url + path, None, {**CLOSING, **headers}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            response.read()
            status: int = response.status
            return status

    def end(self) -> tuple[int, str]:
        """Wait for the end of the program; return its exit code, and what else it has said."""
        _, errors = self.process.communicate(60)
        return self.process.wait(), errors


@contextmanager
def started(*arguments: object) -> Iterator[Server]:
    process = programs.start("--port=0", "--host=127.0.0.1", *arguments)
    try:
        assert process.stderr
        banner = "".join(process.stderr.readline() for _ in range(4))
        found = re.search(r"http://\S+", banner)
        assert found, banner
        yield Server(process, found[0])
    finally:
        process.close()


WAYS = [
    (),
    ("--workers=2",),
    ("--access-log=log",),
    ("--model=fork", "--access-log=log"),
    ("--model=epoll",),
    ("--model=prefork",),
]


@pytest.mark.parametrize("options", slow_except(WAYS, WAYS[1], WAYS[3]))
def test_it_ends_after_downloads(
    directory: Path, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with started(*options, "--stop-after=3-downloads", directory) as server:
        for _ in range(2):
            assert server.get("a.txt") == 200
            assert server.get("a.txt", "HEAD") == 200
            assert server.get("") == 200
            assert server.get("a.txt", Range="bytes=1-2") == 206
        assert server.process.poll() is None
        assert server.get("a.txt", Range="bytes=0-") == 206
        assert server.end() == (0, "aserve: stopping: 3 downloads\n")


def test_a_download_that_is_broken_off_is_none(directory: Path) -> None:
    large_file = directory / "large.bin"
    large_file.touch()
    os.truncate(large_file, HUGE)
    with started("--stop-after=1-download", directory) as server:
        request = urllib.request.Request(server.url + large_file.name, headers=CLOSING)
        with urllib.request.urlopen(request, timeout=60) as response:
            assert len(response.read(10)) == 10
        assert server.get("a.txt", "HEAD") == 200
        assert server.process.poll() is None
        assert server.get(large_file.name) == 200
        assert server.end() == (0, "aserve: stopping: 1 download\n")


@pytest.mark.parametrize("workers", [1, 2])
def test_it_ends_when_no_request_comes(directory: Path, workers: int) -> None:
    """How long it takes is told by test_auto_stop.py, where the clock is moved."""
    with started(f"--workers={workers}", "--idle-exit=1s", directory) as server:
        assert server.get("a.txt") == 200
        assert server.end() == (0, "aserve: stopping: no request for 1 second\n")


def test_it_ends_after_a_time_whoever_is_connected(directory: Path) -> None:
    with started("--stop-after=1s", directory) as server:
        assert server.end() == (0, "aserve: stopping: 1 second after its start\n")


def test_what_cannot_be_a_time_is_one_line(directory: Path) -> None:
    for option, said in (
        ("--stop-after=2", "must be such as 90s, 2h, 3-downloads or 'off', not '2'"),
        ("--idle-exit=soon", "must be a time such as 90s, 15m, 2h or 1d, or 'off', not 'soon'"),
    ):
        process = programs.start(option, directory)
        try:
            _, errors = process.communicate(60)
        finally:
            process.close()
        assert process.returncode == 2
        assert errors == f"aserve: error: {option.partition('=')[0]}: {said}\n"


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("alpha", "beta"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(name)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_other_processes_go_on_counting(folders: Path, workers: int) -> None:
    """A reload of the log has other processes serve, and the former ones end."""
    options = (f"--workers={workers}", "--stop-after=2-downloads")
    with running(folders, *options, first=("access-log = 'off'",)) as program:
        server = Server(program.process, f"http://127.0.0.1:{program.port}/")
        assert server.get("a.txt") == 200
        program.configure("beta", f"access-log = '{folders / 'log'}'")
        assert program.reload() == ""
        assert server.get("a.txt") == 200
        program.process.wait(60)
        assert program.process.stderr
        assert "aserve: stopping: 2 downloads\n" in program.process.stderr.read()
