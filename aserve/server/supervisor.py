"""The supervisor: forks the workers, replaces one that dies, forwards the signal to stop.

It sleeps in sigwait: no polling, no timers, and no signal can get lost in between.
"""

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence

from aserve.server.listeners import close_all
from aserve.server.shutdown_report import RemainingReports
from aserve.server.signals import REOPEN_LOG, STOP_WORKER, Signals
from aserve.transport.processes import describe_exit

_MIN_LIFETIME_S = 1.0  # a worker that exits sooner counts as a failed start
_MAX_FAILED_STARTS = 5  # in a row; then the supervisor gives up

_logger = logging.getLogger("aserve")

RunWorker = Callable[[Sequence[socket.socket], int], None]
"""Runs a worker in its own process, with its listening sockets and its lifeline."""


class Supervisor:
    """Keeps one worker process running for each group of listening sockets.

    The sockets outlive a worker that dies, and so do the connections in their accept queues.
    """

    def __init__(
        self,
        listeners: Sequence[Sequence[socket.socket]],
        run_worker: RunWorker,
        signals: Signals,
        remaining: RemainingReports,
    ) -> None:
        self._listeners = listeners
        self._remaining = remaining
        self._run_worker = run_worker
        self._signals = signals
        self._workers: dict[int, tuple[Sequence[socket.socket], float]] = {}  # pid: sockets, start
        self._failed_starts = 0
        self._stopping = False
        self._lifeline = os.pipe()

    def run(self) -> bool:
        """Run until a signal stops the server; return False if the workers keep failing.

        The signals must be blocked already, or one could arrive before sigwait.
        """
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a parent may have ignored it: no exit codes
        for listeners in self._listeners:
            self._start(listeners)
        while self._workers:
            number = signal.sigwait(self._signals.handled | {signal.SIGCHLD})
            if number == signal.SIGCHLD:
                self._reap()
                self._remaining.collect(self._workers)
            elif self._signals.stops(number):
                self._stop()
            else:
                self._signal_workers(REOPEN_LOG)
        return self._failed_starts < _MAX_FAILED_STARTS

    def _start(self, listeners: Sequence[socket.socket]) -> None:
        pid = os.fork()
        if pid:
            self._workers[pid] = listeners, time.monotonic()
            return
        os._exit(self._run_child(listeners))

    def _run_child(self, listeners: Sequence[socket.socket]) -> int:
        """Run a worker in this forked process; return its exit code."""
        # Terminals and service managers signal every process at once. Only the supervisor acts on
        # that, and forwards it as STOP_WORKER; otherwise each worker would count it twice.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        lifeline, supervisor_end = self._lifeline
        os.close(supervisor_end)
        for group in self._listeners:
            if group is not listeners:  # or clients would be queued there after the others stop
                close_all(group)
        try:
            self._run_worker(listeners, lifeline)
        except BaseException as error:  # noqa: BLE001 - a child must not run the code of its parent
            _logger.error("worker %d: %r", os.getpid(), error)
            return 1
        return 0

    def _stop(self) -> None:
        # Nothing is printed for a second signal: it does not wait.
        self._remaining.expect(() if self._stopping else self._workers)
        self._stopping = True
        for listeners in self._listeners:
            close_all(listeners)  # the workers close their copies: then all clients are refused
        self._signal_workers(STOP_WORKER)

    def _signal_workers(self, number: signal.Signals) -> None:
        for pid in self._workers:
            os.kill(pid, number)

    def _reap(self) -> None:
        for pid in list(self._workers):
            reaped, status = os.waitpid(pid, os.WNOHANG)
            if reaped:
                self._replace(pid, os.waitstatus_to_exitcode(status))

    def _replace(self, pid: int, code: int) -> None:
        listeners, started_at = self._workers.pop(pid)
        if self._stopping:
            return
        _logger.error("worker %d ended with %s; starting another one", pid, describe_exit(code))
        is_failed_start = time.monotonic() - started_at < _MIN_LIFETIME_S
        self._failed_starts = self._failed_starts + 1 if is_failed_start else 0
        try:
            if self._failed_starts < _MAX_FAILED_STARTS:
                self._start(listeners)
                return
        except OSError as error:
            _logger.error("cannot start a worker: %s", error.strerror)
            self._failed_starts = _MAX_FAILED_STARTS
        self._stop()
