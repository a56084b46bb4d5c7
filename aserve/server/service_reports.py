"""When the service manager is told what: once all workers serve, and for as long as they live."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from aserve.server.control import STOPPING, Control
from aserve.server.service_manager import ServiceManager

if TYPE_CHECKING:
    from aserve.server.managed_worker import Worker

_LOOK_INTERVAL_S = 0.05  # for whether all workers serve: a look is a poll of each link

_logger = logging.getLogger("aserve")


class ServiceReports:
    """Reports on one server: that it serves, reloads, stops, and that every worker still answers.

    workers: by process id, as they are at each time. describe: returns in a line what is served,
    for the status. A worker that hangs is not reported: its silence ends the reports of all, and
    the manager restarts the service.
    """

    def __init__(
        self,
        manager: ServiceManager,
        control: Control,
        workers: "Mapping[int, Worker]",
        describe: Callable[[], str],
    ) -> None:
        self._manager = manager
        self._control = control
        self._workers = workers
        self._describe = describe
        self._is_stopping = False
        self._silent: list[int] = []

    def start(self) -> None:
        """Report as soon as all workers serve, and watch them from then on."""
        if self._is_stopping:
            return
        serving = self._current()
        if not (serving and all(one.link.is_serving for one in serving)):
            self._control.call_later(_LOOK_INTERVAL_S, self.start)
            return
        # The process is the same after an upgrade in place; a manager may have been told another.
        self._manager.notify(READY=1, MAINPID=os.getpid(), STATUS=self._describe())
        if self._manager.watchdog:
            self._watch()

    def reloading(self) -> None:
        """Report that a reload begins. The time tells the manager which signal it follows."""
        if not self._is_stopping:
            microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
            self._manager.notify(RELOADING=1, MONOTONIC_USEC=microseconds)

    def reloaded(self, reason: str) -> None:
        """Report that a reload has ended. reason: why nothing has changed, "" if it has."""
        if not self._is_stopping and reason != STOPPING:
            status = f"{self._describe()}; not reloaded: {reason}" if reason else self._describe()
            self._manager.notify(READY=1, STATUS=status)

    def stopping(self) -> None:
        """Report that the server stops; any thread may call this."""
        if not self._is_stopping:
            self._is_stopping = True
            self._manager.notify(STOPPING=1, STATUS="stopping")

    def _watch(self) -> None:
        """Report that all is well if every worker has answered, and then ask all of them again.

        When the server stops, workers take no more orders, and have a grace period of their own.
        """
        self._control.call_later(self._manager.watchdog / 2, self._watch)
        current = [] if self._is_stopping else self._current()
        silent = [one.pid for one in current if not one.link.has_answered]
        if silent != self._silent and not self._is_stopping:
            self._report_silent(silent)
        if silent:
            return
        self._manager.notify(WATCHDOG=1)
        for one in current:
            one.link.ask()

    def _report_silent(self, silent: list[int]) -> None:
        self._silent = silent
        if silent:
            which = ", ".join(map(str, silent))
            _logger.error("no answer from process %s: the service manager is not told", which)
            self._manager.notify(STATUS=f"no answer from process {which}")
        else:
            self._manager.notify(STATUS=self._describe())

    def _current(self) -> "list[Worker]":
        """Return the workers that are to serve, and take note of what they have said."""
        current = [one for one in list(self._workers.values()) if not one.is_retired]
        for one in current:
            one.link.read_replies()
        return current
