"""The management of a server that is one process: a thread beside the one that serves."""

import os
import signal
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from aserve.config.settings import Settings, SettingsError
from aserve.server.manager import Manager, ReadSettings, Worker
from aserve.server.orders import OrderReceiver, WorkerLink
from aserve.server.signals import Signals


class SingleProcess(Manager):
    """Manages the main thread of this process, which serves, by the same orders as a worker's.

    reopen_log: called where a worker would be sent a signal.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - everything that a server consists of
        self,
        settings: Settings,
        port: int,
        signals: Signals,
        reopen_log: Callable[[], None],
        read_settings: ReadSettings | None = None,
        watched: Iterable[Path] = (),
    ) -> None:
        super().__init__(settings, signals, read_settings, watched)
        self._reopen_log = reopen_log
        self._port = port
        link, self.orders = WorkerLink.pair()
        self._workers[os.getpid()] = Worker(os.getpid(), link, settings)

    orders: OrderReceiver
    """The orders to the thread that serves."""

    def start(self) -> None:
        """Start the thread. The signals must be blocked already, in all threads."""
        threading.Thread(target=self._run, name="control", daemon=True).start()

    def _run(self) -> None:
        self._open_control(self._signals.handled - self._signals.stop)
        if self._read_settings:
            self._control.listen(self._port)
        while True:
            self._control.wait()

    def _replace_workers(self, settings: Settings) -> None:
        names = self._names_of_processes()
        name = next(one for one in names if getattr(settings, one) != getattr(self._settings, one))
        raise SettingsError(name, "cannot be changed in a reload of one process")

    def _stop(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def _reap(self) -> None:
        """There are no other processes."""

    def _signal_workers(self, number: int) -> None:  # noqa: ARG002 - only to reopen the log
        self._reopen_log()
