"""A run as webbench does it: a child process for each client, and a pipe to the parent.

Each child asks with calls that wait, one connection for each request, until its alarm rings. Then
it writes one line into the pipe, which all children share: a line is shorter than PIPE_BUF, so that
the kernel takes it whole (pipe(7)). The parent reads to the end of the pipe, which comes when the
last child has ended.
"""

import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from abench.errors import AbenchError, ParameterError
from abench.plan.plan import Plan
from abench.runner import preflight
from abench.runner.signals import STOP_SIGNALS, signals_blocked, stop_on_signal

MAX_CLIENTS = 1_024
"""Processes at once: a few megabytes each. webbench has no limit, and can take a machine down."""
_READ_SIZE = 65_536


@dataclass(slots=True)
class Counts:
    """Pages that were read to their end, requests that failed, and bytes that arrived.

    lost: children that ended without a line. stopped_by: the signal that ended the run early, 0 for
    none.
    """

    succeeded: int = 0
    failed: int = 0
    bytes_received: int = 0
    lost: int = 0
    stopped_by: int = 0


class _TimeIsUp(BaseException):
    """The alarm of a child has rung."""


def run(plan: Plan) -> Counts:
    """Carry out `plan` with a child for each client, and return what all of them have counted.

    Raises UnreachableError before anything is started, and AbenchError if no more processes can be
    forked. SIGINT and SIGTERM ring all alarms early.
    """
    plan = preflight.resolve(plan)
    counts = Counts()
    pids: list[int] = []

    def stop(number: int) -> None:
        counts.stopped_by = number
        for pid in pids:
            os.kill(pid, signal.SIGALRM)

    with stop_on_signal(stop), _alarm_blocked(), _reaped(pids):
        reports = _fork_all(plan, pids, counts)
        with os.fdopen(reports) as lines:
            _add_up(lines.read().splitlines(), counts, len(pids))
    return counts


def check(plan: Plan) -> None:
    """Raise ParameterError for what webbench cannot do, or what is too much for a machine."""
    if plan.target.tls:
        raise ParameterError("--by-the-book", "webbench knows http:// only")
    if plan.connections > MAX_CLIENTS:
        detail = f"at most {MAX_CLIENTS:,} with --by-the-book, which forks a process for each"
        raise ParameterError("--clients", detail)


@contextmanager
def _alarm_blocked() -> Iterator[None]:
    """Block the alarm: a child that had no handler yet would be killed by it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _reaped(pids: list[int]) -> Iterator[None]:
    """Kill the children that are left when the block ends, and wait for all of them."""
    try:
        yield
    finally:
        while pids:
            pid = pids.pop()  # before it is reaped, and its number may be another's
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _fork_all(plan: Plan, pids: list[int], counts: Counts) -> int:
    """Fork the children, and start them together; return where they report.

    They wait for the end of a pipe. webbench lets each sleep for a second instead, in the hope that
    all are forked by then.
    """
    request = next(plan.workload())[0]
    reports, reports_in = os.pipe()
    start, start_in = os.pipe()
    try:
        while len(pids) < plan.connections and not counts.stopped_by:
            with signals_blocked():  # until the child ignores them
                pid = _fork(len(pids))
                if not pid:
                    os.close(start_in)
                    _run_child(plan, request, start, reports_in)
                pids.append(pid)
    except BaseException:
        os.close(reports)
        raise
    finally:
        for descriptor in (start, start_in, reports_in):
            os.close(descriptor)
    return reports


def _fork(number: int) -> int:
    try:
        return os.fork()
    except OSError as error:
        raise AbenchError(f"cannot fork client {number + 1}: {error.strerror}") from error


def _add_up(lines: Sequence[str], counts: Counts, clients: int) -> None:
    for line in lines:
        succeeded, failed, received = map(int, line.split())
        counts.succeeded += succeeded
        counts.failed += failed
        counts.bytes_received += received
    counts.lost = clients - len(lines)


# In a child.


def _run_child(plan: Plan, request: bytes, start: int, reports: int) -> NoReturn:
    """Load the server, write a line, and end, without the parent's handlers."""
    code = 3
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGALRM, _ring)
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # the parent rings the alarm
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        counts = Counts()
        with suppress(_TimeIsUp):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
            os.read(start, 1)
            signal.setitimer(signal.ITIMER_REAL, plan.duration_s or 0)
            while True:
                _ask(plan, request, counts)
        line = f"{counts.succeeded} {counts.failed} {counts.bytes_received}\n"
        os.write(reports, line.encode())
        code = 0
    finally:
        os._exit(code)


def _ring(_number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGALRM, signal.SIG_IGN)  # it rings once
    raise _TimeIsUp


def _ask(plan: Plan, request: bytes, counts: Counts) -> None:
    """Make one request on a new connection. Whatever is read to its end counts, an error, too."""
    try:
        with _connect(plan) as connection:
            connection.sendall(request)
            if plan.http == "0.9":
                connection.shutdown(socket.SHUT_WR)
            while plan.wait and (data := connection.recv(_READ_SIZE)):
                counts.bytes_received += len(data)
        counts.succeeded += 1
    except OSError:
        counts.failed += 1


def _connect(plan: Plan) -> socket.socket:
    _, port = plan.route.endpoint(plan.target)
    return socket.create_connection((plan.address or "", port))
