"""The test's hand on a file system that hangs, and a server that runs apart from the test.

Nothing here waits for time to pass: the file system tells when a request has reached it.
"""

import ctypes
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from tests.aserve import fuse

PATIENCE = 10  # seconds for what takes a moment: it is only there to end a test that fails

_MNT_DETACH = 2

_SERVE = """
import json, sys
import aserve
with aserve.Server(sys.argv[1], **json.loads(sys.argv[2])) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


class HangingFiles:
    """A mounted mirror of a folder. Its requests wait from hold to release."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._reached: list[tuple[str, str]] = []

    def hold(self, operation: str | None = None, name: str | None = None, beyond: int = 0) -> None:
        """Let requests wait: of one operation or of all, for one name or for all.

        beyond: of READs, only those that ask for octets at or behind this offset.
        """
        self._command({"hold": [operation, name, beyond]})

    def release(self, operation: str | None = None) -> None:
        """Answer all that has waited, of one operation or of all, and let it wait no more."""
        self._command({"release": operation})
        if operation is None:
            self._reached.clear()

    def settle(self) -> None:
        """Wait until no file is open, which may be a moment after the reply that it was for."""
        self._command({"settle": True})

    def reached(self, times: int = 1) -> list[tuple[str, str]]:
        """Wait until so many requests wait, and return them: their operation and name."""
        while len(self._reached) < times:
            self._receive()
        reached, self._reached = self._reached[:times], self._reached[times:]
        return reached

    def _command(self, command: dict) -> None:
        self._control.send(json.dumps(command).encode())
        while not self._receive():
            pass

    def _receive(self) -> bool:
        """Take one message; tell whether it says that a command is done."""
        message = json.loads(self._control.recv(65_536) or '{"failed": "it has ended"}')
        if "failed" in message:
            raise OSError(message["failed"])
        if "reached" in message:
            self._reached.append(tuple(message["reached"]))
        return "done" in message


def _absent(why: object) -> NoReturn:
    """Skip; on CI an absence would hide what is tested here, so there it fails."""
    absent = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
    absent(f"needs /dev/fuse and the right to mount: {why}")


@contextmanager
def mounted(source: Path, mountpoint: Path, seconds: int = 0) -> Iterator[HangingFiles]:
    """Mount a mirror of a folder until the block ends; then nothing waits for it any more.

    seconds: how long the kernel may rely on names, attributes and octets once it has them.
    """
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = (sys.executable, fuse.__file__, source, mountpoint, seconds, its.fileno())
    with (
        ours,
        subprocess.Popen(tuple(map(str, command)), pass_fds=(its.fileno(),)) as process,
    ):
        its.close()
        ours.settimeout(PATIENCE)
        files = HangingFiles(ours)
        try:
            try:
                files._receive()
            except OSError as error:
                _absent(error)
            yield files
        finally:
            ours.close()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()  # which ends all that waits, too
            ctypes.CDLL(None).umount2(os.fsencode(mountpoint), _MNT_DETACH)


class Serving:
    """An aserve in a process of its own, which can hang without its test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        where = process.stdout.readline().removeprefix("http://").rstrip("/\n")
        self.host, port = where.split(":")
        self.port = int(port)

    def stop(self) -> tuple[int, str]:
        """Stop it, and return its exit code and what it has complained of."""
        _, complaints = self._process.communicate(timeout=2 * PATIENCE)
        return self._process.returncode, complaints


@contextmanager
def serving(root: Path, **settings: object) -> Iterator[Serving]:
    """Run aserve until the block ends."""
    command = (sys.executable, "-W", "error", "-c", _SERVE, str(root), json.dumps(settings))
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield Serving(process)
        finally:
            process.kill()
