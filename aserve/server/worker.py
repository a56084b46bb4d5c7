"""A worker, which is one process: startup, main loop, shutdown."""

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Self, TypeVar

from aserve.cache.keys import KeyedOn
from aserve.cache.response_cache import ResponseCache
from aserve.config.settings import Settings, SettingsError
from aserve.filesystem.monitor import ChangeMonitor
from aserve.filesystem.mounts import Mounts
from aserve.filesystem.watched_directories import WatchedDirectories
from aserve.http1.limits import Limits
from aserve.linux.inotify import watch_share
from aserve.policies.site import Site
from aserve.server.certificates import open_certificates
from aserve.server.encoders import build_encoder
from aserve.server.event_loops import new_event_loop, standard_event_loop
from aserve.server.listeners import close_all
from aserve.server.live_watch import LiveWatch
from aserve.server.shared_settings import SharedSettings
from aserve.server.signals import block_in_all_threads
from aserve.server.site_factory import build_site
from aserve.server.writers import build_sweeper
from aserve.transport.connection_limiter import ConnectionLimiter
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize
from aserve.transport.observers import ReportRemaining, ResponseObserver
from aserve.transport.server_connection import ServerConnection

T = TypeVar("T")


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
        self._live: list[LiveWatch | None] = []
        self._sweeper = build_sweeper(settings)
        self._encoder = build_encoder(settings)
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
            self._live = [LiveWatch(one) if one.live else None for one in self._settings.every_site]
            for live in filter(None, self._live):
                await live.start()
            limiter = former._server.limiter if former else None  # noqa: SLF001 - of this class
            directories = WatchedDirectories(self._monitor)
            live_reloads = [live.policy if live else None for live in self._live]
            mounts = self._monitor.mounts
            given = mounts, directories, live_reloads, self._encoder
            build = partial(build_site, self._settings, *given)
            # Beside a server that answers meanwhile, in a thread: 10,000 rules take 0.2 s.
            site = await _in_thread(build) if former else build()
            self._made = self._create_server(site, self._monitor, directories, limiter)
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
        self,
        site: Site,
        monitor: ChangeMonitor,
        directories: WatchedDirectories,
        limiter: ConnectionLimiter[ServerConnection] | None,
    ) -> EventLoopServer:
        settings = self._settings
        server = EventLoopServer(
            site,
            settings.limits,
            PoolSize(settings.threads or 1, settings.queue),
            self._observer,
            self._create_cache(monitor, site.keyed_on) if settings.response_cache else None,
            limiter,
            open_certificates(settings),
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
        self._report_remaining = None  # it is not stopped, and nothing remains

    def _stop_watching(self) -> None:
        self._sweeper.stop()
        if self._encoder:
            self._encoder.close()
        for live in filter(None, self._live):
            live.stop()

    def abort(self) -> None:
        """Abort the connections that are waited for."""
        self._server.abort()


async def _in_thread(call: Callable[[], T]) -> T:
    """Make a call in a thread that ends with it."""
    with ThreadPoolExecutor(1, "aserve-reload") as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, call)


def changed_setting(before: Settings, after: Settings, names: Iterable[str]) -> str:
    """Return the first of these settings that is not the same, "" if all are."""
    return next((one for one in names if getattr(before, one) != getattr(after, one)), "")


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
        self._settings = settings
        self._encoder = build_encoder(settings)
        site = build_site(settings, Mounts(), encoder=self._encoder)
        self._sweeper = build_sweeper(settings)
        own = [getattr(settings, name) for name in info.settings]
        self._server = info.create_server(site, settings.limits, observer, *own)
        self.listeners = listeners
        """The sockets that accept."""
        self._forks = info.forks
        self._report_remaining = report_remaining
        self._prepared: tuple[Settings, Callable[[], None]] | None = None
        self._shared: SharedSettings | None = None
        if info.forks:
            self._shared = SharedSettings()
            self._server.renew = self._renew

    def run(self, *control_fds: int) -> bool:
        """Serve until one of control_fds is readable; the second time, stop at once.

        Return whether it was retired, and has ended with its last connection.
        """
        self._sweep()
        grace, report_remaining = self._settings.grace, self._report_remaining
        try:
            self._server.run(self.listeners, control_fds, grace, report_remaining)
        finally:
            self._sweeper.stop()
            if self._encoder:
                self._encoder.close()
        return bool(self._server.has_retired)

    def prepare(self, settings: Settings) -> None:
        """Make everything that other settings need. If that fails, nothing has changed."""
        if setting := changed_setting(self._settings, settings, self._settings.model_info.settings):
            raise SettingsError(setting, f"{settings.described_model} cannot change it in a reload")
        encoder = build_encoder(settings)
        site = build_site(settings, Mounts(), encoder=encoder)
        self._prepared = settings, partial(self._server.reload, site, settings.limits)

    def commit(self) -> None:
        """Answer every request from now on with what was prepared; any thread may call this."""
        if not self._prepared:
            return
        (self._settings, reload), self._prepared = self._prepared, None
        reload()
        if self._shared:
            self._shared.publish(self._settings)
        self._sweeper.stop()
        self._sweeper = build_sweeper(self._settings)
        self._sweep()

    def _renew(self) -> tuple[Site, Limits] | None:
        """Return the site and limits that a child of a process that forks does not know yet."""
        if not (self._shared and (settings := self._shared.read_new())):
            return None
        site: Site = build_site(settings, Mounts(), encoder=build_encoder(settings))
        return site, settings.limits

    def _sweep(self) -> None:
        if self._forks:  # such a process must have no other threads
            self._sweeper.sweep()
        else:
            self._sweeper.start()

    def discard(self) -> None:
        """Release what was prepared."""
        self._prepared = None

    def call_when_readable(self, descriptor: int, callback: Callable[[], object]) -> bool:
        """Have a function called on the thread that serves, if there must be no other one."""
        if self._forks:
            self._server.call_when_readable(descriptor, callback)
        return self._forks

    def interrupt(self) -> None:
        """End a call that would delay the stop; a signal handler calls this."""
        self._server.interrupt()
