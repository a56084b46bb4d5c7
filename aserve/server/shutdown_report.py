"""What a server that stops still waits for: told by each worker, said once for all of them."""

import os
import signal
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress

_REPORT = struct.Struct("=iii")  # process, responses, connections: fewer bytes than a pipe splits


def format_remaining(responses: int, connections: int) -> str:
    """Return what to say to whoever has stopped a server, "" for nothing to wait for."""
    if responses:
        what = "1 response" if responses == 1 else f"{responses} responses"
        return f"{what} still being sent; Ctrl-C again stops now"
    if connections:
        what = "1 connection" if connections == 1 else f"{connections} connections"
        return f"{what} still open; Ctrl-C again stops now"
    return ""


class RemainingReports:
    """The reports of workers to their supervisor, and the line that is said of them."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._supervisor = os.getpid()
        self._reports, self._to_supervisor = os.pipe()
        os.set_blocking(self._reports, False)
        self._awaited: set[int] = set()
        self._responses = self._connections = 0

    def send(self, responses: int, connections: int) -> None:
        """Report what remains of this worker, which has been told to stop."""
        with suppress(OSError):
            os.write(self._to_supervisor, _REPORT.pack(os.getpid(), responses, connections))
            if os.getppid() == self._supervisor:
                os.kill(self._supervisor, signal.SIGCHLD)  # for which it waits in any case

    def expect(self, workers: Iterable[int]) -> None:
        """Begin to wait for the reports of workers."""
        self._awaited = set(workers)

    def collect(self, workers: Iterable[int]) -> None:
        """Take what has been reported, and say it when every worker has, or is gone.

        workers: those that live.
        """
        if not self._awaited:
            return
        with suppress(BlockingIOError):
            while report := os.read(self._reports, _REPORT.size):
                worker, responses, connections = _REPORT.unpack(report)
                self._awaited.discard(worker)
                self._responses += responses
                self._connections += connections
        self._awaited.intersection_update(workers)
        line = format_remaining(self._responses, self._connections)
        if line and not self._awaited:
            self._say(line)
