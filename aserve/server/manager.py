"""What manages a server while it runs: it has all workers follow a reload, and retires them."""

import logging
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from aserve.arguments import first_difference
from aserve.config.configuration import named_by
from aserve.config.settings import Settings, SettingsError
from aserve.linux.pacing import limit_bandwidth
from aserve.server.certificate_watch import CertificateWatch
from aserve.server.control import STOPPING, Control
from aserve.server.inheritance import check_program
from aserve.server.listener_groups import ListenerGroups
from aserve.server.listeners import ListenError, close_all, url
from aserve.server.managed_worker import OF_POOLS, OF_PROCESSES, Worker, adapted
from aserve.server.orders import ReloadError, reload_workers
from aserve.server.reloading import ConfigurationSource, Reloading
from aserve.server.signals import REOPEN_LOG, RETIRE_WORKER, Signals
from aserve.transport.internal_errors import describe_exception

if TYPE_CHECKING:
    from socket import socket

    from aserve.server.service_reports import ServiceReports

_LEAVING_S = 2.0
"""How long a former address is accepted on, for the clients that are on their way to it.

One whose request has not come yet is accepted after a second at most (TCP_DEFER_ACCEPT, tcp(7)).
"""

_logger = logging.getLogger("aserve")


class Manager(ABC):
    """The workers of one server, and how they get other settings: all of them, or none."""

    def __init__(
        self, settings: Settings, groups: ListenerGroups, signals: Signals, reloading: Reloading
    ) -> None:
        self._settings = settings
        self._groups = groups
        # Sockets of former addresses, which are accepted on until a time of the monotonic clock.
        self._leaving: dict[socket, float] = {}
        self._signals = signals
        self._reloading = reloading
        self._inherited = reloading.inherited
        self._workers: dict[int, Worker] = {}  # by process id
        self._is_stopping = False
        self._control: Control
        self._certificates: CertificateWatch
        self._reports: ServiceReports | None = None

    def _open_control(
        self, signals: Iterable[int], lock: AbstractContextManager[object] | None = None
    ) -> None:
        self._control = Control(
            frozenset(signals),
            self._on_signal,
            self._reload,
            self._reloading.watched,
            lock,
            self._reloading.control_socket,
        )
        self._certificates = CertificateWatch(self._control, self._present)
        self._certificates.use(self._settings)
        if auto_stop := self._reloading.auto_stop:
            auto_stop.use(self._control, self._end, lambda: self._groups.places)
        if service_manager := self._reloading.service_manager:
            from aserve.server.service_reports import ServiceReports

            self._reports = ServiceReports(
                service_manager, self._control, self._workers, self._describe
            )

    def _end(self, reason: str) -> None:
        """Stop the server by itself."""
        if not self._is_stopping:
            _logger.warning("stopping: %s", reason)
            self._stop()

    def _describe(self) -> str:
        """Return in a line what is served."""
        count = self._settings.workers
        by = f", by {count} workers" if count > 1 else ""
        return f"serving at {url(self._groups.sockets[0], self._settings.scheme)}{by}"

    def _report_start(self) -> None:
        """Have the service manager told once all workers serve."""
        if self._reports:
            self._reports.start()

    def _report_stop(self) -> None:
        """Tell the service manager that the server stops."""
        if self._reports:
            self._reports.stopping()

    def _present(self, settings: Settings) -> None:
        """Have new connections get other certificates. No other setting is another one."""
        if not self._is_stopping:
            self._reload_workers(settings)
            self._settings = settings

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._reap()
        elif self._signals.stops(number):
            self._stop()
        elif number in self._signals.upgrade:
            self._upgrade()
        elif number in self._signals.reload and not self._is_stopping:
            self._control.reload()
        else:
            self._signal_workers(REOPEN_LOG)

    @abstractmethod
    def _stop(self) -> None:
        """Stop the server."""

    @abstractmethod
    def _reap(self) -> None:
        """Note which workers have ended."""

    def _upgrade(self) -> None:
        """Start the program anew, in place; log why that is not possible if so.

        Not while a former address is accepted on: only this program knows of it.
        """
        if self._is_stopping:
            return
        if self._leaving:
            self._control.call_later(_LEAVING_S, self._upgrade)
            return
        try:
            check_program(self._settings)
            self._start_anew()
        except (OSError, ReloadError) as error:
            _logger.error("upgrade: %s; serving on as before", error)

    @abstractmethod
    def _start_anew(self) -> None:
        """Have the program as it is now serve on the same sockets; raises ReloadError."""

    def _adopt(self) -> list[Worker]:
        """Have the workers of the program before this one; return them. They are to end."""
        adopted = [
            Worker(pid, link, self._settings, is_retired=True)
            for pid, link in self._inherited.open_links().items()
        ]
        self._workers.update({worker.pid: worker for worker in adopted})
        return adopted

    @abstractmethod
    def _replace_workers(self, settings: Settings) -> list[Worker]:
        """Have other processes serve, since these settings cannot be changed in one that runs.

        Return the former ones, which are to be retired.
        """

    def _reload(self) -> str:
        """Serve with the settings as they are now; return why that is not possible, "" if it is."""
        if not (reports := self._reports):
            return self._try_reload()
        reports.reloading()
        reason = self._try_reload()
        reports.reloaded(reason)
        return reason

    def _try_reload(self) -> str:
        """Do what _reload does, without a report."""
        if not (source := self._reloading.source):
            return "its settings are fixed"
        if self._is_stopping:
            return STOPPING
        try:
            self._use(source)
        except (SettingsError, ListenError, ReloadError) as error:
            return str(error)
        except OSError as error:
            return error.strerror or str(error)
        except Exception as error:  # noqa: BLE001 - the last boundary: the server goes on
            return f"internal error: {describe_exception(error)}"
        self._signal_workers(REOPEN_LOG)
        return STOPPING if self._is_stopping else ""

    def _use(self, source: ConfigurationSource) -> None:
        """Have every next request answered with other settings."""
        settings = source.read()
        former = self._groups
        try:
            with self._listening_for(settings):
                retiring = self._follow(settings, must_replace=self._groups is not former)
        except BaseException:
            source.discard()
            raise
        source.commit()
        limit_bandwidth(self._groups.sockets, settings.bandwidth)
        self._settings = settings
        self._certificates.use(settings)
        if self._groups is not former:
            _logger.warning("listening at %s", url(self._groups.sockets[0], settings.scheme))
            self._control.change_port(self._groups.port)
            self._reloading.on_move(self._groups.port)
        self._retire_from(former, retiring)

    def _follow(self, settings: Settings, *, must_replace: bool) -> list[Worker]:
        """Have every process follow other settings; return those that are to be retired."""
        source = self._reloading.source
        must_replace |= bool(source and source.needs_processes)
        if must_replace or first_difference(self._settings, settings, self._names_of_processes()):
            return self._replace_workers(settings)
        self._reload_workers(settings)
        return []

    @contextmanager
    def _listening_for(self, settings: Settings) -> Iterator[None]:
        """Listen on the address of settings in a block; if that fails, all is as it was."""
        former, leaving = self._groups, self._leaving
        with named_by(settings.sources):
            self._groups = former.moved(self._settings, settings, leaving)
        now_open = {*former.sockets, *leaving}
        self._leaving = {
            one: leaving.get(one, inf) for one in now_open.difference(self._groups.sockets)
        }
        try:
            yield
        except BaseException:
            if self._groups is not former:
                close_all(set(self._groups.sockets) - now_open)
            self._groups, self._leaving = former, leaving
            raise

    def _retire_from(self, former: ListenerGroups, retiring: Sequence[Worker]) -> None:
        """Retire processes, which accept on a former address a little longer, if it is left."""
        for one in retiring:
            one.is_retired = True  # and is not replaced
        gone = self._leaving.keys() & set(former.sockets)
        self._leaving.update(dict.fromkeys(gone, time.monotonic() + _LEAVING_S))
        if gone:
            self._control.call_later(_LEAVING_S, partial(self._leave, former, retiring))
        else:
            self._retire(retiring)

    def _leave(self, former: ListenerGroups, retiring: Iterable[Worker]) -> None:
        """Accept no more on the former addresses whose time is over."""
        now = time.monotonic()
        close_all(one for one, until in self._leaving.items() if until <= now)
        self._leaving = {one: until for one, until in self._leaving.items() if until > now}
        former.remove_files(in_use=(*self._groups.sockets, *self._leaving))
        if not self._is_stopping:
            self._retire([one for one in retiring if self._workers.get(one.pid) is one])

    def _close_listeners(self) -> None:
        """Close this process's copies of all listening sockets, whose files are needed no more."""
        for groups in (self._groups, ListenerGroups([tuple(self._leaving)])):
            groups.remove_files()
        close_all(self._groups.sockets)
        close_all(self._leaving)

    @property
    def _auto_stop(self) -> Sequence[int]:
        """The descriptors by which another program goes on as this one, () for nothing."""
        return self._reloading.auto_stop.descriptors if self._reloading.auto_stop else ()

    def _names_of_processes(self) -> tuple[str, ...]:
        has_pool = self._settings.model_info.uses_event_loop
        return OF_PROCESSES if has_pool else OF_PROCESSES + OF_POOLS

    def _reload_workers(self, settings: Settings) -> None:
        """Have the workers answer with other settings, apart from those that a process keeps."""
        workers = list(self._workers.values())
        reload_workers(
            [(one.link, adapted(settings, one)) for one in workers],
            [one.link for one in workers if one.is_retired],
        )
        for one in workers:
            one.settings = adapted(settings, one)

    def _retire(self, workers: Iterable[Worker]) -> None:
        for one in workers:
            one.is_retired = True
            self._signal(one, RETIRE_WORKER)

    def _signal_workers(self, number: int) -> None:
        for one in list(self._workers.values()):
            self._signal(one, number)

    @staticmethod
    def _signal(worker: Worker, number: int) -> None:
        with suppress(ProcessLookupError):  # it has ended, and its end is about to be noticed
            os.kill(worker.pid, number)
