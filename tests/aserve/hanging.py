"""A file system that hangs when a test wants it to, and a server in a process of its own.

Nothing here waits for time to pass: the file system reports each request that has reached it.
"""

import ctypes
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn

import pytest

from tests.aserve import fuse, programs
from tests.fork_server import BlockingProgram

TIMEOUT = 60  # seconds; only a failing test reaches it

_MNT_DETACH = 2

_SERVE = """
import json, sys
import aserve
from aserve.linux.posix_aio import COMPLETED
from aserve.linux.signalfd import block_signals

block_signals((COMPLETED,))
with aserve.Server(sys.argv[1], **json.loads(sys.argv[2])) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


class HangingFiles:
    """A mounted mirror of a directory. Its requests wait from hold to release."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._reached: list[tuple[str, str]] = []

    def hold(self, operation: str | None = None, name: str | None = None, beyond: int = 0) -> None:
        """Make requests wait: of one operation or of all, for one name or for all.

        beyond: of READs, hold only those that ask for bytes at or after this offset.
        """
        self._command({"hold": [operation, name, beyond]})

    def release(self, operation: str | None = None) -> None:
        """Answer the requests that wait, of one operation or of all, and hold no more of them."""
        self._command({"release": operation})
        if operation is None:
            self._reached.clear()

    def settle(self) -> None:
        """Wait until no file is open, which may be shortly after the last response."""
        self._command({"settle": True})

    def reached(self, times: int = 1) -> list[tuple[str, str]]:
        """Wait until this many requests are held, and return the operation and name of each."""
        while len(self._reached) < times:
            self._receive()
        reached, self._reached = self._reached[:times], self._reached[times:]
        return reached

    def _command(self, command: dict) -> None:
        self._control.send(json.dumps(command).encode())
        while not self._receive():
            pass

    def _receive(self) -> bool:
        """Receive one message. Return whether it says that a command is done."""
        message = json.loads(self._control.recv(65_536) or '{"failed": "it has ended"}')
        if "failed" in message:
            raise OSError(message["failed"])
        if "reached" in message:
            self._reached.append(tuple(message["reached"]))
        return "done" in message


def _skip_or_fail(reason: object) -> NoReturn:
    """Skip the test. On CI it fails, since a skip would hide what is tested here."""
    skip_or_fail = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
    skip_or_fail(f"needs /dev/fuse and the right to mount: {reason}")


@contextmanager
def mounted(source: Path, mountpoint: Path, seconds: int = 0) -> Iterator[HangingFiles]:
    """Mount a mirror of a directory until the block ends; then its held requests fail.

    seconds: how long the kernel may cache names, attributes and data.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = (sys.executable, fuse.__file__, source, mountpoint, seconds, theirs.fileno())
    with (
        ours,
        subprocess.Popen(tuple(map(str, command)), pass_fds=(theirs.fileno(),)) as process,
    ):
        theirs.close()
        ours.settimeout(TIMEOUT)
        files = HangingFiles(ours)
        try:
            try:
                files._receive()
            except OSError as error:
                _skip_or_fail(error)
            yield files
        finally:
            ours.close()
            try:
                process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()  # which also ends all held requests
            ctypes.CDLL(None).umount2(os.fsencode(mountpoint), _MNT_DETACH)


class Serving:
    """An aserve in a process of its own, which may hang while the test goes on."""

    def __init__(self, process: BlockingProgram, stdin: BinaryIO) -> None:
        self._process, self._stdin = process, stdin
        address = process.stdout.readline().removeprefix("http://").rstrip("/\n")
        self.host, port = address.split(":")
        self.port = int(port)

    def stop(self) -> tuple[int, str]:
        """Stop it, and return its exit code and what it wrote to standard error."""
        self._stdin.close()
        _, errors = self._process.communicate(timeout=2 * TIMEOUT)
        return self._process.returncode, errors


@contextmanager
def serving(root: Path, **settings: object) -> Iterator[Serving]:
    """Run aserve until the block ends."""
    read_end, write_end = os.pipe()
    with open(write_end, "wb") as stdin:
        process = programs.start_code(
            _SERVE, root, json.dumps(settings), stdin=read_end, warnings="error"
        )
        os.close(read_end)
        with closing(process):
            yield Serving(process, stdin)
