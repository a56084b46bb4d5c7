"""One process: startup, main loop, shutdown."""

import asyncio
import gc
import logging
import os
import resource
import signal
import socket
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from aserve.cache.response_cache import ResponseCache
from aserve.config.settings import Settings
from aserve.filesystem.directory import Directory
from aserve.filesystem.mounts import Mounts
from aserve.handlers.methods import enabled_methods
from aserve.handlers.static_site import StaticSite
from aserve.linux.inotify import watch_share
from aserve.server.event_loops import new_event_loop, standard_event_loop
from aserve.transport.eventloop.connection_host import ReportRemaining, ResponseObserver
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize
from aserve.transport.registry import MODELS

_logger = logging.getLogger("aserve")


class AsyncioWorker:
    """Serves a site on its sockets until it is told to stop, by a model that lives on asyncio."""

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

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Return the kind of loop that the model lives on."""
        return (standard_event_loop if self._settings.model == "asyncio" else new_event_loop)()

    async def startup(self) -> None:
        """Begin to serve on the running loop."""
        settings, mounts = self._settings, Mounts()
        methods = enabled_methods(traces=settings.allow_trace, tunnels=settings.allow_connect)
        self._server = EventLoopServer(
            StaticSite(
                Directory(settings.root, mounts, settings.media_types),
                methods,
                decode_slashes=settings.decode_slashes,
            ),
            settings.limits,
            PoolSize(settings.threads, settings.queue),
            self._observer,
            self._create_cache(mounts) if settings.response_cache else None,
        )
        await self._server.start(self._listeners)

    def _create_cache(self, mounts: Mounts) -> ResponseCache:
        settings = self._settings
        share = watch_share(settings.workers)  # of what all of them may take together
        return ResponseCache(
            os.fsencode(settings.root),
            mounts,
            settings.limits.max_header_size,
            max_watches=share,
            max_bytes=settings.response_cache,
        )

    async def shutdown(self) -> None:
        """Let the replies under way end, then stop."""
        await self._server.stop(self._settings.grace, self._report_remaining)

    def abort(self) -> None:
        """Cut short what shutdown waits for."""
        self._server.abort()


class ModelWorker:
    """The same by a model that has a thread to itself, and takes its orders by descriptors."""

    def __init__(
        self,
        settings: Settings,
        listeners: Sequence[socket.socket],
        observer: ResponseObserver | None,
        report_remaining: ReportRemaining | None = None,
    ) -> None:
        methods = enabled_methods(traces=settings.allow_trace, tunnels=())
        disk = Directory(settings.root, media_types=settings.media_types)
        site = StaticSite(disk, methods, decode_slashes=settings.decode_slashes)
        row = MODELS[settings.model]
        crew = (settings.threads, settings.dispatch) if row.uses_thread_pool else ()
        self._server = row.create_server(site, settings.limits, observer, *crew)
        self._listeners = listeners
        self._grace = settings.grace
        self._report_remaining = report_remaining

    def run(self, *control_fds: int) -> None:
        """Serve until something can be read from one of orders; a second time, end at once."""
        self._server.run(self._listeners, control_fds, self._grace, self._report_remaining)


def serve(  # noqa: PLR0913, PLR0917 - all that a process is given
    settings: Settings,
    listeners: Sequence[socket.socket],
    observer: ResponseObserver | None,
    stop_signals: AbstractSet[signal.Signals],
    lifeline: int | None = None,
    report_remaining: ReportRemaining | None = None,
) -> None:
    """Serve by the model of the settings until a signal tells to stop, and a second one at once.

    lifeline: a descriptor that reads as ended when whoever started us is gone; then we stop too.
    tell: is told, when we stop, of the responses that are still being sent.
    """
    if MODELS[settings.model].uses_event_loop:
        run(AsyncioWorker(settings, listeners, observer, report_remaining), stop_signals, lifeline)
        return
    _raise_descriptor_limit()
    ours, signals = socket.socketpair()
    signals.setblocking(False)
    with ours, signals:
        # Each signal leaves an octet, so that whatever the model waits in has something to wake.
        signal.set_wakeup_fd(signals.fileno())
        for number in stop_signals:
            signal.signal(number, lambda *_: None)
        thread = ModelWorker(settings, listeners, observer, report_remaining)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*stop_signals, signal.SIGCHLD})
        gc.freeze()
        try:
            thread.run(ours.fileno(), *(() if lifeline is None else (lifeline,)))
        finally:
            signal.set_wakeup_fd(-1)


def run(
    worker: AsyncioWorker, stop_signals: AbstractSet[signal.Signals], lifeline: int | None = None
) -> None:
    """Run a worker until a signal tells it to stop, and a second one at once.

    lifeline: a descriptor that reads as ended when whoever started us is gone; then we stop too.
    """
    _raise_descriptor_limit()
    with asyncio.Runner(loop_factory=worker.new_loop) as runner:
        runner.run(_main(worker, stop_signals, lifeline))


def _raise_descriptor_limit() -> None:
    """Take as many descriptors as we may have: the usual soft limit is a relic of select()."""
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
    # What is there by now stays: no collection need ever look at it again. With modules and tables
    # in it a full one took 3 ms, in which nobody is answered; requests leave the collector little.
    gc.freeze()
    await stop.wait()
    if lifeline is not None:
        loop.remove_reader(lifeline)
    await worker.shutdown()


def _on_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say in one line what the loop would print as a traceback.

    Not what became of a client's connection: uvloop tells of a reset between our last write and
    the end behind it as of a fault, ENOTCONN.
    """
    if "transport" in context and isinstance(context.get("exception"), OSError):
        return
    _logger.error("internal error: %s: %r", context.get("message"), context.get("exception"))
