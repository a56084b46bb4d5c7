"""What manages a server while it runs: it has all workers follow a reload, and retires them."""

import logging
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from socket import socket
from typing import NamedTuple, Protocol

from aserve.arguments import first_difference
from aserve.config.configuration import named_by
from aserve.config.settings import Settings, SettingsError
from aserve.linux.pacing import limit_bandwidth
from aserve.server.certificate_watch import CertificateWatch
from aserve.server.control import STOPPING, Control, WatchedFiles
from aserve.server.control_socket import ControlSocket
from aserve.server.inheritance import Inherited, check_program
from aserve.server.listener_groups import ListenerGroups
from aserve.server.listeners import ListenError, close_all, url
from aserve.server.orders import ReloadError, WorkerLink, reload_workers
from aserve.server.signals import REOPEN_LOG, RETIRE_WORKER, Signals
from aserve.transport.internal_errors import describe_exception

_LEAVING_S = 2.0
"""How long a former address is accepted on, for the clients that are on their way to it.

One whose request has not come yet is accepted after a second at most (TCP_DEFER_ACCEPT, tcp(7)).
"""

OF_PROCESSES = ("workers", "model", "by_the_book", "dispatch")
"""Settings that a process keeps for as long as it runs."""
_OF_POOLS = ("threads", "queue")  # those of a model without an event loop as well


_logger = logging.getLogger("aserve")


@dataclass(eq=False)
class Worker:
    """A worker, and the link to it. is_retired: it ends with its last connection."""

    pid: int
    link: WorkerLink
    settings: Settings
    listeners: Sequence[socket] = ()
    is_retired: bool = False
    started_at: float = field(default_factory=time.monotonic)


class ConfigurationSource(Protocol):
    """Where settings are read anew, and what of them only a new process follows.

    That is what the source has for the processes that are started: the access log. After read they
    get what it has read, until discard.
    """

    def read(self) -> Settings:
        """Return the settings as they are now; raise SettingsError if they cannot work."""

    @property
    def needs_processes(self) -> bool:
        """Whether what was read last differs in more than the settings."""

    def commit(self) -> None:
        """Note that the server follows what was read."""

    def discard(self) -> None:
        """Release what was read: the server does not follow it."""


class Reloading(NamedTuple):
    """How a server gets other settings while it runs.

    source: None for one that keeps its settings. watched: files whose change is a reason to
    read them. control_socket: what `aserve reload` connects to. inherited: from the program before.
    """

    source: ConfigurationSource | None = None
    watched: WatchedFiles = WatchedFiles(())
    control_socket: ControlSocket | None = None
    inherited: Inherited = Inherited()


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
            self._control.call_later(_LEAVING_S, partial(self._leave, retiring))
        else:
            self._retire(retiring)

    def _leave(self, retiring: Iterable[Worker]) -> None:
        """Accept no more on the former addresses whose time is over."""
        now = time.monotonic()
        close_all(one for one, until in self._leaving.items() if until <= now)
        self._leaving = {one: until for one, until in self._leaving.items() if until > now}
        if not self._is_stopping:
            self._retire([one for one in retiring if self._workers.get(one.pid) is one])

    def _close_listeners(self) -> None:
        """Close this process's copies of all listening sockets."""
        close_all(self._groups.sockets)
        close_all(self._leaving)

    def _names_of_processes(self) -> tuple[str, ...]:
        has_pool = self._settings.model_info.uses_event_loop
        return OF_PROCESSES if has_pool else OF_PROCESSES + _OF_POOLS

    def _reload_workers(self, settings: Settings) -> None:
        """Have the workers answer with other settings, apart from those that a process keeps."""
        workers = list(self._workers.values())
        reload_workers(
            [(one.link, _adapted(settings, one)) for one in workers],
            [one.link for one in workers if one.is_retired],
        )
        for one in workers:
            one.settings = _adapted(settings, one)

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


def _adapted(settings: Settings, worker: Worker) -> Settings:
    """Return settings as a worker can have them: a retired one has another model, or more others.

    Where they do not go together, it keeps its own.
    """
    names = (*OF_PROCESSES, *_OF_POOLS)
    if not first_difference(settings, worker.settings, names):
        return settings
    try:
        return replace(settings, **{name: getattr(worker.settings, name) for name in names})
    except SettingsError:
        return worker.settings
