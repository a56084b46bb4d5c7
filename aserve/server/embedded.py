"""A server inside a program: in its event loop, or in a thread."""

import asyncio
import atexit
import inspect
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, Self, TypeVar, Unpack

from aserve.arguments import check_names
from aserve.config.root import Root, RootArgument, as_root, check_root, describe_root
from aserve.config.server_settings import ServerSettings
from aserve.config.settings import Settings, SettingsError, checked_root
from aserve.config.virtual_hosts import with_sites
from aserve.filesystem.rule_files import format_problems
from aserve.http.messages import Request
from aserve.linux.pacing import limit_bandwidth
from aserve.observability.log_formats import Entry, combined_format
from aserve.server.listener_groups import ListenerGroups
from aserve.server.listeners import close_all, listen, url
from aserve.server.model_worker import ModelWorker
from aserve.server.reload import ReloadableWorker
from aserve.server.site_factory import missing_pages
from aserve.server.threads import LoopThread, ModelThread, WorkerThread
from aserve.transport.observers import ResponseObserver
from aserve.transport.registry import DEFAULT, MODELS

R = TypeVar("R", WorkerThread, ReloadableWorker)

_logger = logging.getLogger("aserve")

WriteLine = Callable[[str], object]
"""Called with each line of the access log."""


class Server:
    """Serves a directory while a `with` or `async with` block runs.

    root: the directory or file to serve, or a mapping that has several by their names in URLs:
    `{"": "www", "docs": "/srv/docs"}` serves the second one at /docs/. port: 0 for any free one,
    None for 8000 or the next free one. access_log: called with a line in the combined format for
    each response, in the thread that serves; `print` shows what is requested. The other arguments
    are those of aserve.Settings.

    `async with` serves in the running event loop, `with` in a thread of its own, for programs and
    tests without a loop. Where no block fits, start and stop do the same as `with`. A server that
    was stopped can be started again.

    Raises aserve.SettingsError for a value that cannot work, TypeError for a name that is no
    setting, and aserve.ListenError on entering the block if it cannot listen on its address.
    """

    __signature__: inspect.Signature

    def __init__(
        self,
        root: RootArgument,
        *,
        port: int | None = 0,
        access_log: WriteLine | None = None,
        **settings: Unpack[ServerSettings],
    ) -> None:
        if "workers" in settings:
            raise SettingsError("workers", "a server in a program is one process")
        check_names(settings, self.__signature__.parameters, "setting")
        _check_processes(settings.get("model", DEFAULT))
        if not (access_log is None or callable(access_log)):
            raise SettingsError("access_log", f"must be a function or None, not {access_log!r}")
        self.settings = Settings(checked_root(as_root, root), port=port, **settings)
        self._root = _absolute(root)
        if self.settings.model_info.needs_main_thread:
            reason = f"{self.settings.model} needs the main thread, for its signal handler"
            raise SettingsError("by_the_book", f"{reason}; run the program aserve")
        self.url = ""
        """The URL of the site, with a slash at its end; "" before the server is started. With a
        Unix socket it is unix:PATH."""
        self._observer = _line_writer(access_log) if access_log else None
        self._running: ReloadableWorker | LoopThread | ModelThread | None = None
        self._listeners: Sequence[socket.socket] = ()
        self._groups = ListenerGroups(())
        self._process_id = 0  # of the process that runs it, and of no fork
        self._lock = threading.RLock()  # a reload is either over before a stop, or refused

    def __repr__(self) -> str:
        return f"<aserve.Server of {self.served!r} at {self.url or 'no address yet'}>"

    @property
    def served(self) -> str:
        """The path that is served, and how many others are."""
        return with_sites(describe_root(self.settings.root), self.settings.sites)

    def start(self) -> None:
        """Start serving in a thread, until stop or the end of the program.

        Raises ListenError, and RuntimeError if it runs already.
        """
        with self._starting() as listeners:
            if self._uses_event_loop:
                self._running = LoopThread(self._reloadable_worker(listeners))
            else:
                self._running = ModelThread(
                    lambda: ModelWorker(self.settings, listeners, self._observer)
                )
        atexit.register(self.stop)  # the end of Python can crash under a loop that still runs

    def stop(self) -> None:
        """Stop accepting, and wait at most the grace period for responses in progress.

        It has no effect on a server that does not run, nor in a process that was forked meanwhile.
        KeyboardInterrupt during the wait ends those responses at once.
        """
        if isinstance(self._running, ReloadableWorker):
            raise RuntimeError(  # noqa: TRY004 - how it was started is wrong, and no argument
                "the server was started with `async with`, whose end stops it"
            )
        atexit.unregister(self.stop)
        with self._stopping() as running:
            if running:
                running.stop()

    def reload(self, root: RootArgument | None = None, **changes: Unpack[ServerSettings]) -> None:
        """Answer all requests from now on with other settings, without a pause.

        What is not named stays. Responses in progress end as they began, and connections stay open.
        Raises what Server raises: then nothing has changed. Address and model cannot; nor can, of
        a model without an event loop, its threads.
        """
        kind: type[WorkerThread] = WorkerThread  # type: ignore[type-abstract]
        with self._reloading(kind, root, changes) as (running, settings):
            self._listeners = running.reload(settings)

    async def areload(
        self, root: RootArgument | None = None, **changes: Unpack[ServerSettings]
    ) -> None:
        """Do what reload does, for a server that was started with `async with`."""
        if isinstance(self._running, ModelThread):
            await asyncio.to_thread(self.reload, root, **changes)
            return
        with self._reloading(ReloadableWorker, root, changes) as (running, settings):
            self._listeners = await running.reload(settings)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        if self._uses_event_loop:
            with self._starting() as listeners:
                worker = self._reloadable_worker(listeners)
                await worker.startup()
                self._running = worker
        else:
            self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if isinstance(self._running, ReloadableWorker):
            with self._stopping() as worker:
                if worker:
                    await _shut_down(worker)
        else:
            await asyncio.to_thread(self.stop)

    @property
    def _uses_event_loop(self) -> bool:
        return self.settings.model_info.uses_event_loop

    def _reloadable_worker(self, listeners: Sequence[socket.socket]) -> ReloadableWorker:
        return ReloadableWorker(self.settings, listeners, self._observer)

    @contextmanager
    def _starting(self) -> Iterator[Sequence[socket.socket]]:
        """Listen; close the sockets if the block fails."""
        if self._running and self._process_id == os.getpid():
            raise RuntimeError(f"the server is already running at {self.url}")
        (self._listeners,) = listen(self.settings)
        self._groups = ListenerGroups([self._listeners])
        self._lock = threading.RLock()  # a thread may have held the old one at a fork
        self._process_id = os.getpid()
        self.url = url(self._listeners[0], self.settings.scheme)
        try:
            for setting, reason in missing_pages(self.settings):
                _logger.warning("%s: %s", setting, reason)
            for line in format_problems(self.settings.read_rules().problems):
                _logger.warning("%s", line)
            yield self._listeners
        except BaseException:
            self._groups.remove_files()
            close_all(self._listeners)
            raise

    @contextmanager
    def _reloading(
        self, kind: type[R], root: RootArgument | None, changes: ServerSettings
    ) -> Iterator[tuple[R, Settings]]:
        """Yield what runs, and its next settings, which apply after the block.

        The lock is reentrant, since a signal handler may reload during a reload. In a running loop
        no reload begins before the last has ended: a reload never waits there.
        """
        if self._process_id != os.getpid():
            raise RuntimeError("the server is not running")
        with self._lock:
            running = self._running_as(kind)
            settings = self._changed_settings(root, changes)
            yield running, settings
            limit_bandwidth(self._listeners, settings.bandwidth)
            self.settings = settings
            self._root = self._root if root is None else _absolute(root)

    def _running_as(self, kind: type[R]) -> R:
        if not self._running:
            raise RuntimeError("the server is not running")
        if not isinstance(self._running, kind):
            raise RuntimeError(  # noqa: TRY004 - the wrong method, and no argument
                "a server in a thread has reload, one in a running loop has areload"
            )
        return self._running

    def _changed_settings(self, root: RootArgument | None, changes: ServerSettings) -> Settings:
        check_names(changes, ("root", *ServerSettings.__annotations__), "setting")
        new_root = self._root if root is None else checked_root(as_root, root)
        settings = replace(self.settings, root=new_root, **changes)
        for fixed in ("host", "model", "by_the_book", "http_redirect"):
            if getattr(settings, fixed) != getattr(self.settings, fixed):
                raise SettingsError(fixed, "cannot be changed while the server runs")
        return settings

    @contextmanager
    def _stopping(self) -> Iterator[Any]:
        """Return what runs in this process, None if nothing does; close the sockets at the end."""
        is_own = self._process_id == os.getpid()
        with self._lock if is_own else nullcontext():  # in a fork nothing may release it
            running, self._running = self._running, None
        try:
            yield running if is_own else None
        finally:
            if is_own:
                self._groups.remove_files()
            close_all(self._listeners)  # a fork has copies of them, which keep the port taken


def _absolute(root: RootArgument) -> Root:
    """Return a root as it was given, whose links may lead elsewhere by the next reload."""
    return check_root(as_root(root))


def _check_processes(model: object) -> None:
    """Reject a model that forks: the children would have locks of this program's other threads."""
    info = MODELS.get(model) if isinstance(model, str) else None
    if info and info.needs_processes:
        reason = f"{model} forks, which a program with threads must not; run aserve --model {model}"
        raise SettingsError("model", reason)


async def _shut_down(worker: ReloadableWorker) -> None:
    """Stop a worker; if this task is cancelled meanwhile, at once."""
    stopping = asyncio.ensure_future(worker.shutdown())
    try:
        await asyncio.shield(stopping)
    except asyncio.CancelledError:
        worker.abort()
        await stopping
        raise


def _line_writer(write: WriteLine) -> ResponseObserver:
    """Return an observer that passes on each response as a line."""

    def record(  # noqa: PLR0913, PLR0917 - as ResponseObserver
        client: str,
        request: Request,
        status: int,
        body_size: int,
        started_at: float,
        truncated: bool = False,
        /,
    ) -> None:
        now = time.time()
        entry = Entry(now, client, request, status, body_size, now - started_at, truncated)
        write(combined_format(entry))

    return record


def _signature() -> inspect.Signature:
    """Return the signature of Server with each setting by name.

    Type checkers know them from ServerSettings; help() and notebooks know them from here.
    """
    own = inspect.signature(Server.__init__).parameters
    settings = inspect.signature(Settings).parameters
    return inspect.Signature(
        [
            *(own[name] for name in ("root", "port", "access_log")),
            *(
                settings[name].replace(kind=inspect.Parameter.KEYWORD_ONLY)
                for name in ServerSettings.__annotations__
            ),
        ]
    )


Server.__signature__ = _signature()
