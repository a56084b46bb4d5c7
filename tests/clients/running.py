"""Run the programs as their users do: aserve and its clients."""

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest

TIMEOUT_S = 30  # for operations that take a moment: it only ends a test that hangs

_LINE = re.compile(
    r'\S+ - - \[[^]]+\] "(?P<method>\S+) (?P<target>\S+) [^"]*" (?P<status>\d+) (?P<size>\d+) '
)


def skip_missing(what: str) -> NoReturn:
    """Skip the test; on CI, where everything must be installed, fail it."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"needs {what}")


def program(name: str) -> str:
    """Return the path of a program, which Debian has in a package of the same name."""
    return shutil.which(name) or skip_missing(f"{name} (apt-get install {name})")


def run(
    *command: str | Path,
    environment: Mapping[str, str] | None = None,
    timeout: float = 2 * TIMEOUT_S,
    **options: object,
) -> subprocess.CompletedProcess[str]:
    """Run a client in an environment without a proxy, a package index or a configuration.

    environment: what there is besides. timeout: seconds.
    """
    usual = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        command,
        check=False,
        env={**usual, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        **options,
    )


class LogEntry(NamedTuple):
    """One line of the access log."""

    method: str
    target: str
    status: int
    size: int


class RunningServer:
    """A running aserve with an access log."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log
        schemes = "http://", "https://"
        self.url = next(
            word for line in process.stderr for word in line.split() if word.startswith(schemes)
        )
        self.address = self.url.partition("://")[2].rstrip("/")
        self.host, port = self.address.split(":")
        self.port = int(port)

    def get(self, target: str = "") -> bytes:
        """Fetch a target with urllib, on a new connection; return the body."""
        with urllib.request.urlopen(self.url + target, timeout=TIMEOUT_S) as response:
            return response.read()

    def open_files(self) -> int:
        """Return how many descriptors the process has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu_seconds(self) -> float:
        """Return the CPU time of the process, in user and in system mode."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> list[LogEntry]:
        """Stop the server, which must print only its banner, and return what it has logged."""
        if self.process.poll() is None:
            self.process.terminate()
            _, stderr = self.process.communicate(timeout=TIMEOUT_S)
            others = [line for line in stderr.splitlines() if not line.startswith("  ")]
            assert (self.process.returncode, others) == (0, [])
        return [
            LogEntry(match["method"], match["target"], int(match["status"]), int(match["size"]))
            for match in map(_LINE.match, self._log.read_text().splitlines())
            if match
        ]


@contextmanager
def serving(
    root: Path, log: Path, *options: str, open_files: int = 1024
) -> Iterator[RunningServer]:
    """Run aserve until the block ends. open_files: its limit of descriptors."""
    limited = ("sh", "-c", 'ulimit -n "$0" && exec "$@"', str(open_files))
    command = (*limited, sys.executable, "-m", "aserve", str(root), "--port", "0")
    with subprocess.Popen(
        (*command, "--access-log", str(log), *options),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            running = RunningServer(process, log)
            yield running
            running.stop()
        finally:
            process.kill()
