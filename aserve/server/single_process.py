"""The management of a server that is one process: a thread beside the one that serves."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from aserve.config.settings import Settings
from aserve.server.inheritance import (
    Inherited,
    check_program,
    descriptors_of,
    exec_program,
    spawn_program,
)
from aserve.server.listener_groups import ListenerGroups
from aserve.server.managed_worker import Worker
from aserve.server.manager import Manager
from aserve.server.orders import OrderReceiver, ReloadError, WorkerLink
from aserve.server.reloading import Reloading
from aserve.server.signals import STOP_WORKER, Signals
from aserve.transport.processes import describe_exit

_RETRY_S = 1.0

_logger = logging.getLogger("aserve")


class SingleProcess(Manager):
    """Manages the main thread of this process, which serves, by the same orders as a worker's.

    An upgrade in place has to wait until the last connection of this process has ended. Until then
    the new program serves in a process beside it, the stand-in, which ends in the same way once the
    new program has taken this one's place.

    reopen_log: called where a worker would be sent a signal.
    """

    def __init__(
        self,
        settings: Settings,
        groups: ListenerGroups,
        signals: Signals,
        reopen_log: Callable[[], None],
        reloading: Reloading,
    ) -> None:
        super().__init__(settings, groups, signals, reloading)
        self._reopen_log = reopen_log
        self._lifeline = self._inherited.lifeline
        link, self.orders = WorkerLink.pair()
        self._own = self._workers[os.getpid()] = Worker(os.getpid(), link, settings)
        self._stand_in: Worker | None = None
        self._waiting: dict[Worker, threading.Thread] = {}
        self._last_failure = ""
        self._lock = threading.RLock()  # for a reload, and for the end of this program

    orders: OrderReceiver
    """The orders to the thread that serves."""

    def start(self) -> None:
        """Start the thread. The signals must be blocked already, in all threads."""
        adopted = self._adopt()
        for one in adopted:
            self._await_end(one)
        threading.Thread(target=self._run, args=(adopted,), name="control", daemon=True).start()

    @property
    def is_upgrading(self) -> bool:
        """Whether the program is to be started anew once nothing is served here any more."""
        return self._stand_in is not None

    def on_stopping(self) -> None:
        """Refuse clients: the server has closed its copies of the listening sockets.

        Where a reload or an upgrade is under way, they are closed with the process: this is called
        by the thread that serves, which does not wait for one that it obeys.
        """
        self._is_stopping = True
        self._report_stop()
        self.orders.end()
        if self._lock.acquire(blocking=False):
            if not self.is_upgrading:
                self._close_listeners()
            self._lock.release()

    def finish_upgrade(self) -> None:
        """Start the program anew in this process, if that is wanted; else return.

        While that is not possible, the stand-in goes on. The signals that stop the server are
        blocked: one that comes is the new program's. A reload is for the stand-in alone, since this
        process takes no more orders.
        """
        while self.is_upgrading:
            if self._can_start_anew():
                with self._lock:
                    self._exec_program()
            if signal.sigtimedwait(self._signals.stop, _RETRY_S):
                return

    def _can_start_anew(self) -> bool:
        try:
            check_program(self._settings)
        except ReloadError as error:
            self._report_failure(str(error))
            return False
        return True

    def _exec_program(self) -> None:
        """Start the program anew in this process, but not while a former address is accepted on."""
        if self._leaving:
            return
        others = [one for one in self._workers.values() if one is not self._own]
        exec_program(
            self._legacy()._replace(
                workers=[(one.pid, one.link.fileno()) for one in others],
                lifeline=self._lifeline,
                control=self._control.descriptor,
            )
        )

    def _report_failure(self, reason: str) -> None:
        if reason != self._last_failure:
            self._last_failure = reason
            _logger.error("upgrade: %s; process %s serves", reason, self._stand_in_pid)

    def wait_workers(self, timeout: float) -> None:
        """Stop the processes beside this one, and wait for them."""
        with self._lock:
            if self._lifeline:
                os.close(self._lifeline[1])
            self._is_stopping = True
            self._groups.remove_files()
        for thread in list(self._waiting.values()):
            thread.join(timeout)

    def _run(self, adopted: Sequence[Worker]) -> None:
        self._open_control(self._signals.handled - self._signals.stop, self._lock)
        if adopted:
            self._own.link.wait_started()
            self._retire(adopted)
        self._report_start()
        while True:
            self._control.wait()

    def _start_anew(self) -> None:
        """Have a stand-in serve, and retire this process, which finish_upgrade then replaces."""
        with self._lock:
            if not self._is_stopping:
                self._stand_in = self._start_stand_in(self._settings)
                self._retire(self._others_than(self._stand_in))

    def _others_than(self, stand_in: Worker) -> list[Worker]:
        workers = self._workers.values()
        return [one for one in workers if not (one.is_retired or one is stand_in)]

    def _start_stand_in(self, settings: Settings) -> Worker:
        """Start the program in a process beside this one; raises ReloadError if it cannot serve."""
        if not self._lifeline:
            self._lifeline = os.pipe()
        link, orders = WorkerLink.pair()
        process = spawn_program(
            self._legacy()._replace(lifeline=self._lifeline[:1], orders=orders.fileno())
        )
        orders.close()
        if (reason := link.wait_started()) != "":
            process.kill()
            process.wait()
            link.close()
            raise ReloadError(reason or "the new program has ended before it could serve")
        worker = self._workers[process.pid] = Worker(process.pid, link, settings)
        self._await_end(worker)
        return worker

    @property
    def _stand_in_pid(self) -> int:
        return self._stand_in.pid if self._stand_in else 0

    def _legacy(self) -> Inherited:
        """Return what every program that this one starts gets from it."""
        return Inherited(
            descriptors_of(self._groups.groups),
            auto_stop=self._auto_stop,
            is_activated=self._groups.is_activated,
        )

    def _replace_workers(self, settings: Settings) -> list[Worker]:
        """Start the program anew: other processes are needed, or another address or log."""
        check_program(settings)
        with self._lock:
            if self._is_stopping:
                return []
            stand_in = self._start_stand_in(settings)
            try:
                self._reload_workers(settings)
            except ReloadError:
                stand_in.is_retired = True  # and is not replaced
                self._signal(stand_in, STOP_WORKER)
                raise
            self._stand_in = stand_in
            return self._others_than(stand_in)

    def _stop(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def _reap(self) -> None:
        """Do nothing: the main thread may take each SIGCHLD, so a thread waits for each process."""

    def _await_end(self, worker: Worker) -> None:
        thread = threading.Thread(target=self._remove_ended, args=(worker,), daemon=True)
        self._waiting[worker] = thread
        thread.start()

    def _remove_ended(self, worker: Worker) -> None:
        status = 0
        with suppress(ChildProcessError):  # subprocess has waited for it
            _, status = os.waitpid(worker.pid, 0)
        with self._lock:
            del self._workers[worker.pid]
            worker.link.close()
        if not (worker.is_retired or self._is_stopping):
            ended = describe_exit(os.waitstatus_to_exitcode(status))
            _logger.error("process %d ended with %s; starting another one", worker.pid, ended)
            self._upgrade()

    def _signal_workers(self, number: int) -> None:
        self._reopen_log()
        for one in list(self._workers.values()):
            if one is not self._own:
                self._signal(one, number)
