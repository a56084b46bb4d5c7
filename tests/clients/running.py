"""Programs as their users run them: aserve, and what talks to it."""

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest

PATIENCE = 30  # seconds for what takes a moment: it is only there to end a test that hangs

_LINE = re.compile(
    r'\S+ - - \[[^]]+\] "(?P<method>\S+) (?P<target>\S+) [^"]*" (?P<status>\d+) (?P<octets>\d+) '
)


def absent(what: str) -> NoReturn:
    """Skip; on CI an absence would hide what is tested here, so there it fails."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"needs {what}")


def program(name: str) -> str:
    """Find a program that Debian has in a package of the same name."""
    return shutil.which(name) or absent(f"{name} (apt-get install {name})")


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a client in an environment that names no proxy, no index and no configuration."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        command,
        check=False,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        **options,
    )


class Entry(NamedTuple):
    """What a line of the access log tells."""

    method: str
    target: str
    status: int
    octets: int


class Running:
    """An aserve that runs, with an access log."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log
        self.url = next(
            word for line in process.stderr for word in line.split() if word.startswith("http://")
        )
        self.place = self.url.removeprefix("http://").rstrip("/")
        self.host, port = self.place.split(":")
        self.port = int(port)

    def get(self, target: str = "") -> bytes:
        """Fetch something in the plainest way, by a connection of its own."""
        with urllib.request.urlopen(self.url + target, timeout=PATIENCE) as reply:
            return reply.read()

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def processor_seconds(self) -> float:
        """Return the processor time that the process has used, in user and in system mode."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> list[Entry]:
        """Stop it, which must be all there is to say about it, and return what it has logged."""
        if self.process.poll() is None:
            self.process.terminate()
            _, complaints = self.process.communicate(timeout=PATIENCE)
            assert (self.process.returncode, complaints.splitlines()[2:]) == (0, [])
        return [
            Entry(found["method"], found["target"], int(found["status"]), int(found["octets"]))
            for found in map(_LINE.match, self._log.read_text().splitlines())
            if found
        ]


@contextmanager
def serving(root: Path, log: Path, *options: str, open_files: int = 1024) -> Iterator[Running]:
    """Run aserve until the block ends; open_files: how many it may have."""
    limited = ("sh", "-c", 'ulimit -n "$0" && exec "$@"', str(open_files))
    command = (*limited, sys.executable, "-m", "aserve", str(root), "--port", "0")
    with subprocess.Popen(
        (*command, "--access-log", str(log), *options),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            running = Running(process, log)
            yield running
            running.stop()
        finally:
            process.kill()
