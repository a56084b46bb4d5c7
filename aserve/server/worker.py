"""A worker, which is one process: startup, main loop, shutdown."""

import asyncio
import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Self

from aserve.cache.keys import KeyedOn
from aserve.cache.response_cache import ResponseCache
from aserve.config.settings import Settings
from aserve.filesystem.monitor import ChangeMonitor
from aserve.filesystem.mounts import Mounts
from aserve.filesystem.watched_directories import WatchedDirectories
from aserve.linux.inotify import watch_share
from aserve.server.event_loops import new_event_loop, standard_event_loop
from aserve.server.listeners import close_all
from aserve.server.live_watch import LiveWatch
from aserve.server.signals import block_in_all_threads
from aserve.server.site_factory import build_site
from aserve.server.writers import build_sweeper
from aserve.transport.connection_limiter import ConnectionLimiter
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize
from aserve.transport.observers import ReportRemaining, ResponseObserver
from aserve.transport.server_connection import ServerConnection

SWITCH_INTERVAL_S = 0.0005
"""How long a thread may keep the interpreter while another one waits for it (ADR 40)."""

_logger = logging.getLogger("aserve")


class AsyncioWorker:
    """Serves a site on its sockets with a model that runs on asyncio."""

    def __init__(
        self,
        settings: Settings,
        listeners: Sequence[socket.socket],
        observer: ResponseObserver | None,
        report_remaining: ReportRemaining | None = None,
    ) -> None:
        self._settings = settings
        self._listeners = listeners
        self._observer = observer
        self._report_remaining = report_remaining
        self._live: LiveWatch | None = None
        self._sweeper = build_sweeper(settings)
        self._monitor: ChangeMonitor | None = None
        self._made: EventLoopServer | None = None

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Return an event loop of the kind that the model runs on."""
        return (standard_event_loop if self._settings.model == "asyncio" else new_event_loop)()

    async def startup(self) -> None:
        """Start to serve on the running event loop.

        If that fails, nothing stays open, nor do the sockets.
        """
        await self.prepare()
        await self.start()

    async def prepare(self, former: Self | None = None) -> None:
        """Make everything that is needed to serve. If that fails, nothing stays open.

        former: the worker that this one is to succeed, whose connections it will have.
        """
        try:
            share = watch_share(self._settings.workers)  # of the watches of all workers together
            self._monitor = ChangeMonitor(max_watches=share)
            if self._settings.live:
                self._live = LiveWatch(self._settings)
                await self._live.start()
            limiter = former._server.limiter if former else None  # noqa: SLF001 - of this class
            self._made = self._create_server(self._monitor, limiter)
        except BaseException:
            self.discard()
            raise

    async def start(self) -> None:
        """Serve with what prepare has made. If that fails, nothing stays open."""
        try:
            await self._server.start(self._listeners)
            self._sweeper.start()
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Release everything that was prepared and does not serve."""
        self._stop_watching()
        if self._made:
            self._made.release()
        if self._monitor:
            self._monitor.close()
        close_all(self._listeners)

    @property
    def _server(self) -> EventLoopServer:
        if not self._made:
            raise RuntimeError("the worker is not prepared")
        return self._made

    def _create_server(
        self, monitor: ChangeMonitor, limiter: ConnectionLimiter[ServerConnection] | None
    ) -> EventLoopServer:
        settings, directories = self._settings, WatchedDirectories(monitor)
        live_reload = self._live.policy if self._live else None
        site = build_site(settings, monitor.mounts, directories, live_reload)
        server = EventLoopServer(
            site,
            settings.limits,
            PoolSize(settings.threads or 1, settings.queue),
            self._observer,
            self._create_cache(monitor, site.keyed_on) if settings.response_cache else None,
            limiter,
        )
        server.use_directories(directories)
        return server

    def _create_cache(self, monitor: ChangeMonitor, keyed_on: KeyedOn) -> ResponseCache:
        settings = self._settings
        return ResponseCache(
            monitor,
            settings.limits.max_header_size,
            keyed_on=keyed_on,
            max_bytes=settings.response_cache,
        )

    async def shutdown(self) -> None:
        """Wait for the responses in progress, for at most the grace period, then stop."""
        self._stop_watching()
        await self._server.stop(self._settings.grace, self._report_remaining)

    async def hand_over(self, successor: Self) -> None:
        """Leave all connections to another worker, which accepts already.

        Return when it answers every request that comes from then on.
        """
        await self._server.hand_over(successor._server)
        self._stop_watching()

    async def wait_handed_over(self) -> None:
        """Wait until the last response of this worker has ended, however long."""
        await self._server.wait_handed_over()

    async def retire(self) -> None:
        """Accept no more, and close each connection after its next response; wait for the last."""
        await self._server.retire()

    def _stop_watching(self) -> None:
        self._sweeper.stop()
        if self._live:
            self._live.stop()

    def abort(self) -> None:
        """Abort the connections that are waited for."""
        self._server.abort()


class ModelWorker:
    """Serves a site with a model that runs in a thread and is controlled through descriptors."""

    def __init__(
        self,
        settings: Settings,
        listeners: Sequence[socket.socket],
        observer: ResponseObserver | None,
        report_remaining: ReportRemaining | None = None,
    ) -> None:
        info = settings.model_info
        block_in_all_threads(info.signals, settings.model)
        site = build_site(settings, Mounts())
        self._sweeper = build_sweeper(settings)
        own = [getattr(settings, name) for name in info.settings]
        self._server = info.create_server(site, settings.limits, observer, *own)
        self._listeners = listeners
        self._grace = settings.grace
        self._forks = info.forks
        self._report_remaining = report_remaining

    def run(self, *control_fds: int) -> None:
        """Serve until one of control_fds is readable; the second time, stop at once."""
        if self._forks:  # such a process must have no other threads
            self._sweeper.sweep()
        else:
            self._sweeper.start()
        try:
            self._server.run(self._listeners, control_fds, self._grace, self._report_remaining)
        finally:
            self._sweeper.stop()

    def interrupt(self) -> None:
        """End a call that would delay the stop; a signal handler calls this."""
        self._server.interrupt()


def serve(  # noqa: PLR0913, PLR0917 - everything a process needs
    settings: Settings,
    listeners: Sequence[socket.socket],
    observer: ResponseObserver | None,
    stop_signals: AbstractSet[signal.Signals],
    lifeline: int | None = None,
    report_remaining: ReportRemaining | None = None,
) -> None:
    """Serve with the model of the settings until a stop signal; a second one stops at once.

    lifeline: a pipe that reads as closed when the parent process has ended; then this one stops
    too. report_remaining: is called at the stop with the numbers of responses that are still being
    sent and of open connections.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)  # only here: the process of a program is not ours
    if settings.model_info.uses_event_loop:
        run(AsyncioWorker(settings, listeners, observer, report_remaining), stop_signals, lifeline)
        return
    _raise_descriptor_limit()
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with os.fdopen(read_end, "rb", 0), os.fdopen(write_end, "wb", 0):
        # Python writes a byte for each signal, which wakes up the model, whatever it waits in.
        signal.set_wakeup_fd(write_end)
        worker = ModelWorker(settings, listeners, observer, report_remaining)
        for number in stop_signals:
            signal.signal(number, lambda *_: worker.interrupt())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*stop_signals, signal.SIGCHLD})
        gc.freeze()
        try:
            worker.run(read_end, *(() if lifeline is None else (lifeline,)))
        finally:
            signal.set_wakeup_fd(-1)


def run(
    worker: AsyncioWorker, stop_signals: AbstractSet[signal.Signals], lifeline: int | None = None
) -> None:
    """Run a worker until a stop signal; a second one stops at once.

    lifeline: a pipe that reads as closed when the parent process has ended; then this one stops
    too.
    """
    _raise_descriptor_limit()
    with asyncio.Runner(loop_factory=worker.new_loop) as runner:
        runner.run(_main(worker, stop_signals, lifeline))


def _raise_descriptor_limit() -> None:
    """Raise the soft limit of descriptors to the hard one: a low default is a relic of select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _main(
    worker: AsyncioWorker, stop_signals: AbstractSet[signal.Signals], lifeline: int | None
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_on_loop_error)
    stop = asyncio.Event()

    def on_signal() -> None:
        (worker.abort if stop.is_set() else stop.set)()

    for number in stop_signals:
        loop.add_signal_handler(number, on_signal)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {*stop_signals, signal.SIGCHLD})
    if lifeline is not None:
        loop.add_reader(lifeline, stop.set)
    await worker.startup()
    # The objects that exist now stay, so that the garbage collector can skip them. With the modules
    # and tables a full collection took 3 ms, in which no client is served; requests leave little.
    gc.freeze()
    await stop.wait()
    if lifeline is not None:
        loop.remove_reader(lifeline)
    await worker.shutdown()


def _on_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log in one line what the event loop would print as a traceback.

    Errors of a client's connection are not logged: when a client resets it between our last write
    and our shutdown, uvloop reports ENOTCONN as an error.
    """
    if "transport" in context and isinstance(context.get("exception"), OSError):
        return
    _logger.error("internal error: %s: %r", context.get("message"), context.get("exception"))
