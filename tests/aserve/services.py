"""A small service manager: it starts programs with sockets, and hears what they report."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

TIMEOUT_S = 60

Message = dict[str, str]

# The descriptors are moved to 3 and up, as sd_listen_fds(3) says, by way of others: one of them may
# be in the place of another.
_LAUNCHER = """
import fcntl, os, sys
count = int(sys.argv[1])
given, command = map(int, sys.argv[2 : 2 + count]), sys.argv[2 + count :]
moved = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 100) for one in given]
for number, one in enumerate(moved, 3):
    os.dup2(one, number)
os.environ["LISTEN_PID"] = os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execv(command[0], command)
"""


class Reports:
    """What a service has reported: a datagram for each message."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.all: list[Message] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(TIMEOUT_S)

    def next(self) -> Message:
        """Wait for the next message."""
        lines = self._socket.recv(65_536).decode().splitlines()
        message = dict(line.split("=", 1) for line in lines)
        self.all.append(message)
        return message

    def wait_for(self, name: str, text: str = "") -> Message:
        """Wait for a message with an assignment whose value has a text in it."""
        while text not in (message := self.next()).get(name, "\0"):
            pass
        return message

    def close(self) -> None:
        self._socket.close()


class Service(NamedTuple):
    """A program that was started, and what it reports."""

    process: "subprocess.Popen[str]"
    reports: Reports

    def lines(self) -> Iterator[str]:
        """Yield what it writes to its standard error."""
        assert self.process.stderr
        return iter(self.process.stderr.readline, "")

    def stop(self) -> str:
        """Stop it; return what it has written to its standard error."""
        self.process.terminate()
        _, errors = self.process.communicate(timeout=TIMEOUT_S)
        assert self.process.returncode == 0, errors
        return errors


@contextmanager
def service(
    directory: Path,
    *arguments: object,
    sockets: Sequence[socket.socket] = (),
    watchdog: float = 0.0,
    command: Sequence[str] = (sys.executable, "-m", "aserve"),
    **environment: str,
) -> Iterator[Service]:
    """Start aserve as a service manager does, until a block ends.

    sockets: what it gets in place of an address. watchdog: seconds. environment: more variables.
    """
    descriptors = [one.fileno() for one in sockets]
    launcher = (sys.executable, "-I", "-S", "-c", _LAUNCHER, str(len(descriptors)))
    reports = Reports(directory / "notify")
    variables = {"NOTIFY_SOCKET": str(reports.path)}
    if sockets:
        variables |= {"LISTEN_FDS": str(len(descriptors))}
    if watchdog:
        variables["WATCHDOG_USEC"] = str(int(watchdog * 1e6))
    with subprocess.Popen(
        [*launcher, *map(str, descriptors), *command, *map(str, arguments)],
        env=os.environ | variables | environment,
        cwd=directory,
        pass_fds=descriptors,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Service(process, reports)
        finally:
            process.kill()
            reports.close()
