"""Many processes: forks the workers, replaces one that dies, passes on the order to stop.

It sleeps in sigwait: no polling, no timers, and a signal cannot arrive between two looks.
"""

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence

from aserve.server.shutdown_report import RemainingReports
from aserve.server.signals import REOPEN_LOG, STOP_WORKER, Signals

_MIN_LIFETIME_S = 1.0  # seconds; a worker that dies younger than this has not served
_MAX_FAILED_STARTS = 5  # in a row, and there is no point in another

_logger = logging.getLogger("aserve")

RunWorker = Callable[[Sequence[socket.socket], int], None]
"""A worker's whole life in its own process: takes its sockets and its lifeline."""


class Supervisor:
    """Keeps one process alive for each worker's sockets.

    They outlive their worker, and so do the connections that wait in them.
    """

    def __init__(
        self,
        listeners: Sequence[Sequence[socket.socket]],
        work: RunWorker,
        signals: Signals,
        remaining: RemainingReports,
    ) -> None:
        self._listeners = listeners
        self._remaining = remaining
        self._run_worker = work
        self._signals = signals
        self._workers: dict[int, tuple[Sequence[socket.socket], float]] = {}  # pid: sockets, start
        self._failed_starts = 0
        self._stopping = False
        self._lifeline = os.pipe()

    def run(self) -> bool:
        """Run until told to stop; False where the workers would not live.

        Signals are held back already, or one could arrive between two looks.
        """
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # an ignoring parent's legacy: no children
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
        """Be a worker; return its exit code."""
        # Terminals and service managers signal every process at once: the supervisor alone acts on
        # that and passes it on as STOP_WORKER, or each worker would count the same order twice.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        lifeline, its_other_end = self._lifeline
        os.close(its_other_end)
        for others in self._listeners:
            if others is not listeners:  # or who comes while we stop would wait there for nobody
                _close(others)
        try:
            self._run_worker(listeners, lifeline)
        except Exception as error:  # noqa: BLE001 - a forked child must not run its parent's code
            _logger.error("worker %d: %r", os.getpid(), error)
            return 1
        return 0

    def _stop(self) -> None:
        # Of a second order nothing is said: it does not wait.
        self._remaining.expect(() if self._stopping else self._workers)
        self._stopping = True
        for listeners in self._listeners:  # with its worker's own closed, nobody is let in
            _close(listeners)
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
        listeners, since = self._workers.pop(pid)
        if self._stopping:
            return
        _logger.error(
            "worker %d ended with %s; another one takes its place", pid, _describe_exit(code)
        )
        young = time.monotonic() - since < _MIN_LIFETIME_S
        self._failed_starts = self._failed_starts + 1 if young else 0
        try:
            if self._failed_starts < _MAX_FAILED_STARTS:
                self._start(listeners)
                return
        except OSError as error:
            _logger.error("no worker can be started: %s", error.strerror)
            self._failed_starts = _MAX_FAILED_STARTS
        self._stop()


def _close(listeners: Iterable[socket.socket]) -> None:
    for listener in listeners:
        listener.close()


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    known = -code in {number.value for number in signal.Signals}
    return signal.Signals(-code).name if known else f"signal {-code}"
