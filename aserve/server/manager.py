"""What manages a server while it runs: it has all workers follow a reload, and retires them."""

import logging
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from socket import socket
from typing import NamedTuple

from aserve.config.configuration import named_by
from aserve.config.settings import Settings, SettingsError
from aserve.server.control import Control, WatchedFiles
from aserve.server.control_socket import ControlSocket
from aserve.server.inheritance import Inherited, check_program
from aserve.server.listeners import ListenError, check_same_address
from aserve.server.orders import ReloadError, WorkerLink, reload_workers
from aserve.server.signals import REOPEN_LOG, RETIRE_WORKER, Signals
from aserve.server.worker import changed_setting
from aserve.transport.internal_errors import describe_exception

ReadSettings = Callable[[], Settings]
"""Reads the settings as they are now; raises SettingsError."""

OF_PROCESSES = ("workers", "model", "by_the_book", "dispatch")
"""Settings that a process keeps for as long as it runs."""
_OF_POOLS = ("threads", "queue")  # those of a model without an event loop as well

_STOPPING = "the server is stopping"

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


class Reloading(NamedTuple):
    """How a server gets other settings while it runs.

    read_settings: None for one that keeps its settings. watched: files whose change is a reason to
    read them. control_socket: what `aserve reload` connects to. inherited: from the program before.
    """

    read_settings: ReadSettings | None = None
    watched: WatchedFiles = WatchedFiles(())
    control_socket: ControlSocket | None = None
    inherited: Inherited = Inherited()


class Manager(ABC):
    """The workers of one server, and how they get other settings: all of them, or none."""

    def __init__(self, settings: Settings, signals: Signals, reloading: Reloading) -> None:
        self._settings = settings
        self._signals = signals
        self._reloading = reloading
        self._inherited = reloading.inherited
        self._workers: dict[int, Worker] = {}  # by process id
        self._is_stopping = False
        self._control: Control

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
        """Start the program anew, in place; log why that is not possible if so."""
        if self._is_stopping:
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
    def _replace_workers(self, settings: Settings) -> None:
        """Have other processes serve, since these settings cannot be changed in one that runs."""

    def _reload(self) -> str:
        """Serve with the settings as they are now; return why that is not possible, "" if it is."""
        if not (read_settings := self._reloading.read_settings):
            return "its settings are fixed"
        if self._is_stopping:
            return _STOPPING
        try:
            self._use(read_settings())
        except (SettingsError, ListenError, ReloadError) as error:
            return str(error)
        except OSError as error:
            return error.strerror or str(error)
        except Exception as error:  # noqa: BLE001 - the last boundary: the server goes on
            return f"internal error: {describe_exception(error)}"
        self._signal_workers(REOPEN_LOG)
        return _STOPPING if self._is_stopping else ""

    def _use(self, settings: Settings) -> None:
        """Have every next request answered with other settings."""
        with named_by(settings.sources):
            check_same_address(self._settings.host, self._settings.port, settings)
        if changed_setting(self._settings, settings, self._names_of_processes()):
            self._replace_workers(settings)
        else:
            self._reload_workers(settings)
        self._settings = settings

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
    if not changed_setting(settings, worker.settings, names):
        return settings
    try:
        return replace(settings, **{name: getattr(worker.settings, name) for name in names})
    except SettingsError:
        return worker.settings
