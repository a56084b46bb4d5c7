"""A worker on an event loop: startup, reload, shutdown."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

from aserve.cache.keys import KeyedOn
from aserve.cache.response_cache import ResponseCache
from aserve.config.settings import Settings
from aserve.filesystem.monitor import ChangeMonitor
from aserve.filesystem.watched_directories import WatchedDirectories
from aserve.linux.inotify import watch_share
from aserve.policies.site import Site
from aserve.server.certificates import open_certificates
from aserve.server.encoders import build_encoder
from aserve.server.event_loops import new_event_loop, standard_event_loop
from aserve.server.listeners import close_all
from aserve.server.proxy_protocol import build_proxy_protocol
from aserve.server.rates import Rates
from aserve.server.site_factory import build_site
from aserve.server.stores import open_store
from aserve.server.writing import sweeper_of
from aserve.transport.connection_limiter import ConnectionLimiter
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize
from aserve.transport.observers import ReportRemaining, ResponseObserver
from aserve.transport.server_connection import ServerConnection

if TYPE_CHECKING:
    from aserve.server.live_watch import LiveWatch

T = TypeVar("T")


class AsyncioWorker:
    """Serves a site on its sockets with a model that runs on asyncio."""

    def __init__(
        self,
        settings: Settings,
        listeners: Sequence[socket.socket],
        observer: ResponseObserver | None,
        report_remaining: ReportRemaining | None = None,
        rates: Rates | None = None,
    ) -> None:
        self._settings = settings
        self._listeners = listeners
        self._observer = observer
        self._report_remaining = report_remaining
        self._rates = rates
        self._live: list[LiveWatch | None] = []
        self._sweeper = sweeper_of(settings)
        self._encoder = build_encoder(settings)
        self._shares = open_store(settings)
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
            self._live = [_live_watch(one) for one in self._settings.every_site]
            for live in filter(None, self._live):
                await live.start()
            limiter = former._server.limiter if former else None  # noqa: SLF001 - of this class
            directories = WatchedDirectories(self._monitor)
            live_reloads = [live.policy if live else None for live in self._live]
            mounts = self._monitor.mounts
            made = self._encoder, self._rates, self._shares
            given = mounts, directories, live_reloads, *made
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
            if self._sweeper:
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
            build_proxy_protocol(settings),
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
        if self._sweeper:
            self._sweeper.stop()
        if self._encoder:
            self._encoder.close()
        if self._shares:
            self._shares.close()
        for live in filter(None, self._live):
            live.stop()

    def abort(self) -> None:
        """Abort the connections that are waited for."""
        self._server.abort()


def _live_watch(settings: Settings) -> "LiveWatch | None":
    """Return what makes the pages of a site reload, None where they do not."""
    if not settings.live:
        return None
    from aserve.server.live_watch import LiveWatch

    return LiveWatch(settings)


async def _in_thread(call: Callable[[], T]) -> T:
    """Make a call in a thread that ends with it."""
    with ThreadPoolExecutor(1, "aserve-reload") as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, call)
