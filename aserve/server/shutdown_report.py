"""What a stopping server still waits for: reported by each worker, printed once for all."""

import os
import signal
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress

# Process id, responses, connections: a write this small to a pipe is atomic (pipe(7)).
_REPORT = struct.Struct("=iii")


def format_remaining(responses: int, connections: int) -> str:
    """Return the line for the user who stopped the server, "" if nothing is left to wait for."""
    if responses:
        what = "1 response" if responses == 1 else f"{responses} responses"
        return f"{what} still being sent; Ctrl-C again stops now"
    if connections:
        what = "1 connection" if connections == 1 else f"{connections} connections"
        return f"{what} still open; Ctrl-C again stops now"
    return ""


class RemainingReports:
    """The reports of the workers to their supervisor, and the line that is printed of them."""

    def __init__(self, print_line: Callable[[str], None]) -> None:
        self._print_line = print_line
        self._supervisor_pid = os.getpid()
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._pending_pids: set[int] = set()
        self._responses = self._connections = 0

    def send(self, responses: int, connections: int) -> None:
        """Report what this worker, which is stopping, still waits for."""
        with suppress(OSError):  # the supervisor has ended, and no user waits for the line
            os.write(self._write_end, _REPORT.pack(os.getpid(), responses, connections))
            if os.getppid() == self._supervisor_pid:  # which waits for this signal anyway
                os.kill(self._supervisor_pid, signal.SIGCHLD)

    def expect(self, worker_pids: Iterable[int]) -> None:
        """Start to wait for the reports of these workers."""
        self._pending_pids = set(worker_pids)

    def collect(self, live_pids: Iterable[int]) -> None:
        """Read the reports; print the line once every worker has reported or has exited."""
        if not self._pending_pids:
            return
        with suppress(BlockingIOError):
            while report := os.read(self._read_end, _REPORT.size):
                pid, responses, connections = _REPORT.unpack(report)
                self._pending_pids.discard(pid)
                self._responses += responses
                self._connections += connections
        self._pending_pids.intersection_update(live_pids)
        line = format_remaining(self._responses, self._connections)
        if line and not self._pending_pids:
            self._print_line(line)
