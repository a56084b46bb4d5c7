"""The supervisor: forks the workers, replaces one that dies, and has them follow a reload.

It sleeps until a signal or a request comes: it has no timers, and no signal can get lost.
"""

import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from socket import socket

from aserve.config.settings import Settings
from aserve.server.inheritance import Inherited, descriptors_of, exec_program
from aserve.server.listener_groups import ListenerGroups
from aserve.server.listeners import close_all
from aserve.server.managed_worker import Worker
from aserve.server.manager import Manager
from aserve.server.orders import OrderReceiver, ReloadError, WorkerLink
from aserve.server.rates import shared_file
from aserve.server.reloading import Reloading
from aserve.server.shutdown_report import RemainingReports
from aserve.server.signals import STOP_WORKER, Signals
from aserve.transport.processes import describe_exit

_MIN_LIFETIME_S = 1.0  # a worker that exits sooner counts as a failed start
_MAX_FAILED_STARTS = 5  # in a row; then the supervisor gives up

_logger = logging.getLogger("aserve")

RunWorker = Callable[[Settings, Sequence[socket], int, OrderReceiver], None]
"""Runs a worker in its own process, with its sockets, its lifeline and the orders to it."""


class Supervisor(Manager):
    """Keeps one worker process running for each group of listening sockets.

    The sockets outlive a worker that dies, and so do the connections in their accept queues.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - everything that a server consists of
        self,
        settings: Settings,
        groups: ListenerGroups,
        run_worker: RunWorker,
        signals: Signals,
        remaining: RemainingReports,
        reloading: Reloading = Reloading(),  # noqa: B008 - it has nothing that changes
    ) -> None:
        super().__init__(settings, groups, signals, reloading)
        self._remaining = remaining
        self._run_worker = run_worker
        self._failed_starts = 0
        self._lifeline = self._inherited.lifeline or os.pipe()

    def run(self) -> bool:
        """Run until a signal stops the server; return False if the workers keep failing.

        The signals must be blocked already, or one could arrive before they are waited for.
        """
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a parent may have ignored it: no exit codes
        self._open_control({*self._signals.handled, signal.SIGCHLD})
        shared_file()  # all workers count in it, also if a reload is the first to set a rate
        adopted = self._adopt()
        for listeners in self._groups.assign(self._settings):
            self._start(self._settings, listeners)
        if adopted:
            self._wait_started()
            self._retire(adopted)
        self._report_start()
        while self._workers:
            self._control.wait()
        return self._failed_starts < _MAX_FAILED_STARTS

    def _start(self, settings: Settings, listeners: Sequence[socket]) -> Worker:
        link, orders = WorkerLink.pair()
        pid = os.fork()
        if not pid:
            os._exit(self._run_child(settings, listeners, orders, link))
        orders.close()
        worker = self._workers[pid] = Worker(pid, link, settings, listeners)
        return worker

    def _run_child(
        self,
        settings: Settings,
        listeners: Sequence[socket],
        orders: OrderReceiver,
        link: WorkerLink,
    ) -> int:
        """Run a worker in this forked process; return its exit code."""
        # Terminals and service managers signal every process at once. Only the supervisor acts on
        # that, and forwards it as STOP_WORKER; otherwise each worker would count it twice.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        lifeline, supervisor_end = self._lifeline
        os.close(supervisor_end)
        self._control.close()
        for one in (link, *(worker.link for worker in self._workers.values())):
            one.close()
        # Or clients would be queued there after the others stop.
        close_all({*self._groups.sockets, *self._leaving} - set(listeners))
        try:
            self._run_worker(settings, listeners, lifeline, orders)
        except BaseException as error:  # noqa: BLE001 - a child must not run the code of its parent
            _logger.error("worker %d: %r", os.getpid(), error)
            return 1
        return 0

    def _replace_workers(self, settings: Settings) -> list[Worker]:
        """Have new workers serve; return the old ones, once all new ones have started."""
        old = list(self._workers.values())
        new: list[Worker] = []
        try:
            for listeners in self._groups.assign(settings):
                new.append(self._start(settings, listeners))  # noqa: PERF401 - those before an error
            for worker in new:
                if (reason := worker.link.wait_started()) != "":
                    raise ReloadError(reason or "a worker has ended before it could serve")
            self._reload_workers(settings)
        except (OSError, ReloadError):
            for worker in new:
                worker.is_retired = True  # and is not replaced
                self._signal(worker, STOP_WORKER)
            raise
        return old

    def _wait_started(self) -> None:
        for worker in self._workers.values():
            worker.link.wait_started()

    def _start_anew(self) -> None:
        exec_program(
            Inherited(
                descriptors_of(self._groups.groups),
                [(one.pid, one.link.fileno()) for one in self._workers.values()],
                self._lifeline,
                control=self._control.descriptor,
                auto_stop=self._auto_stop,
                is_activated=self._groups.is_activated,
            )
        )

    def _stop(self) -> None:
        # Nothing is printed for a second signal: it does not wait.
        self._remaining.expect(() if self._is_stopping else self._workers)
        self._is_stopping = True
        self._report_stop()
        self._close_listeners()  # the workers close their copies: all clients are refused
        self._signal_workers(STOP_WORKER)

    def _reap(self) -> None:
        for pid in list(self._workers):
            reaped, status = os.waitpid(pid, os.WNOHANG)
            if reaped:
                self._replace(self._workers.pop(pid), os.waitstatus_to_exitcode(status))
        self._remaining.collect(self._workers)

    def _replace(self, worker: Worker, code: int) -> None:
        worker.link.close()
        if self._is_stopping or worker.is_retired:
            return
        _logger.error(
            "worker %d ended with %s; starting another one", worker.pid, describe_exit(code)
        )
        is_failed_start = time.monotonic() - worker.started_at < _MIN_LIFETIME_S
        self._failed_starts = self._failed_starts + 1 if is_failed_start else 0
        try:
            if self._failed_starts < _MAX_FAILED_STARTS:
                self._start(self._settings, worker.listeners)
                return
        except OSError as error:
            _logger.error("cannot start a worker: %s", error.strerror)
            self._failed_starts = _MAX_FAILED_STARTS
        self._stop()
