"""The default model: the event loop reads and writes, a bounded thread pool reads the disk.

To the connections it is a proactor: they see completed reads and writes only. It is a simulated
one, since the loop completes them by readiness: epoll under uvloop's transports.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from aserve.cache.dependencies import Dependencies
from aserve.cache.response_cache import CachedResponse, ResponseCache, cache_key
from aserve.handlers.static_site import StaticSite
from aserve.http.error_pages import error_response
from aserve.http.messages import BodyPart, HttpError, Request
from aserve.http1.limits import Limits
from aserve.linux.malloc_trim import HeapTrimmer
from aserve.transport.connection_limiter import ConnectionLimiter, Decision, process_limits
from aserve.transport.eventloop.acceptor import Acceptor
from aserve.transport.eventloop.connection import Connection
from aserve.transport.eventloop.connection_host import (
    PendingResponse,
    ReportRemaining,
    ResponseObserver,
)
from aserve.transport.eventloop.thread_pool import PoolSize, ThreadPool
from aserve.transport.eventloop.write_readiness import WriteReadiness
from aserve.transport.internal_errors import describe_exception

_MAX_LAST_TURNS = 100  # of the loop, for aborted connections to be closed
_MAX_TICKS = 256  # connections in one turn; 10,000 at once would delay the busy ones

_logger = logging.getLogger("aserve")


class EventLoopServer:
    """Serves a site on one event loop, with its connections and its thread pool."""

    def __init__(
        self,
        site: StaticSite,
        limits: Limits,
        size: PoolSize,
        observer: ResponseObserver | None = None,
        cache: ResponseCache | None = None,
    ) -> None:
        self.limits = limits
        self.observer = observer
        self.cache = cache
        self.loop = asyncio.get_running_loop()
        self.thread_pool = ThreadPool(self.loop, size)
        self.write_readiness = WriteReadiness(self.loop)
        self._site = site
        self._limiter: ConnectionLimiter[Connection] = ConnectionLimiter(
            process_limits(limits), cache
        )
        self._acceptors: list[Acceptor] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._all_closed: asyncio.Event | None = None  # while stopping
        self._heap_trimmer = HeapTrimmer()

    async def start(self, listeners: Iterable[socket.socket]) -> None:
        """Accept connections on bound sockets."""
        self._acceptors = [
            Acceptor(
                listener,
                self.cache,
                self.observer,
                lambda received: Connection(self, received),
                self.limits.transfer_timeout,
            )
            for listener in listeners
        ]
        for acceptor in self._acceptors:
            acceptor.start(self.limits.backlog)
        self._sweep()

    async def stop_accepting(self) -> None:
        """Accept no more; return when each accepted client has its connection, or its response."""
        for acceptor in self._acceptors:
            acceptor.close()
        for acceptor in self._acceptors:
            await acceptor.wait_closed()

    async def stop(
        self, grace: float | None, report_remaining: ReportRemaining | None = None
    ) -> None:
        """Stop accepting, wait at most grace seconds for open responses, then abort the rest.

        grace: None for no limit but those on each response.
        report_remaining: called with the numbers of responses and connections that are still open.
        """
        self._all_closed = asyncio.Event()
        self._limiter.close()
        for acceptor in self._acceptors:
            acceptor.close()
        for connection in list(self.connections):
            connection.close_after_response()
        await asyncio.sleep(0)  # idle connections close in this turn
        if report_remaining:
            responses = sum(connection.is_responding for connection in self.connections)
            report_remaining(responses, len(self.connections))
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                for acceptor in self._acceptors:
                    await acceptor.wait_closed()
                if self.connections:
                    await self._all_closed.wait()
        self.abort()
        await self._wait_aborted()
        if self._sweeper:
            self._sweeper.cancel()
        self.thread_pool.shutdown(wait=False)
        self.write_readiness.close()
        if self.cache:
            self.cache.close()

    async def _wait_aborted(self) -> None:
        """Wait until aborted connections are closed and have recorded how much they sent."""
        for _ in range(_MAX_LAST_TURNS):
            if not self.connections:
                break
            await asyncio.sleep(0)
        for _ in range(2):  # tasks that closing connections have cancelled
            await asyncio.sleep(0)

    def abort(self) -> None:
        """Abort every connection."""
        for acceptor in self._acceptors:
            acceptor.abort()
        for connection in list(self.connections):
            connection.abort()

    @property
    def connections(self) -> set[Connection]:
        """The open connections."""
        return self._limiter.connections

    def admit(self, connection: Connection) -> Decision:
        """Count a new connection and decide whether it is accepted."""
        return self._limiter.admit(connection)

    def remove(self, connection: Connection) -> None:
        """Remove a closed connection."""
        self._limiter.remove(connection)
        if self._all_closed and not self.connections:
            self._all_closed.set()

    def reserve_descriptor(self, connection: Connection) -> bool:
        """Reserve one descriptor besides the connection's own; False if there is none."""
        return self._limiter.reserve_descriptors(connection, 1)

    def release_descriptors(self, connection: Connection) -> None:
        """Release the descriptors that a connection had reserved."""
        self._limiter.release_descriptors(connection)

    def handle(
        self, request: Request, done: Callable[[PendingResponse], None], *, keep_alive: bool
    ) -> CachedResponse | PendingResponse | None:
        """Return the response if it needs no disk, else None: done gets it from a thread."""
        if request.error:
            return PendingResponse(error_response(request, request.error))
        now = time.time()
        key = cache_key(request, keep_alive=keep_alive) if self.cache else None
        if self.cache and key and (cached := self.cache.lookup_key(key, request, now)):
            return cached
        second = int(now)
        try:
            return PendingResponse(
                self._site.handle(request, second, wait=False), key, was_nonblocking=True
            )
        except BlockingIOError:
            pass
        # The one hop of a request, to a thread that may wait for the disk.
        handle = self._site.handle

        def failed() -> None:
            done(
                PendingResponse(
                    error_response(
                        request, HttpError(500, "Something went wrong here.", close=True)
                    )
                )
            )

        if self.thread_pool.try_submit(
            lambda: PendingResponse(handle(request, second), key), done, failed
        ):
            return None
        return PendingResponse(
            error_response(request, HttpError(503, "The server is busy. Try again in a moment."))
        )

    def populate_cache(
        self, request: Request, pending: PendingResponse, parts: Sequence[BodyPart], *, closes: bool
    ) -> None:
        """Cache a response if it is worth it and is still the same once its files are watched.

        A thread checks that while the response is being sent. A busy loop makes a thread wait 5 ms
        for the interpreter, dozens of times, so the loop does it itself if nothing can block.
        """
        (response, key, at_once), cache = pending, self.cache
        if not (cache and key and cache.should_store(key, response)) or self._all_closed:
            return
        generation, now = cache.generation(), int(time.time())
        cached = CachedResponse(key, parts, response, closes=closes)
        at_once = at_once and cache.root_is_local

        def verify() -> tuple[Dependencies | None, bool]:
            # Watch first, so that no later change is missed.
            dependencies = cache.watch_dependencies(request, now, at_once=at_once)
            try:
                second_response = self._site.handle(request, now, wait=not at_once)
            except BlockingIOError:
                return dependencies, False
            return dependencies, second_response.same_as(response)

        def store(result: tuple[Dependencies | None, bool]) -> None:
            dependencies, is_same = result
            if dependencies and is_same:
                cache.store(cached, dependencies, generation)
            elif dependencies:
                cache.discard(dependencies)

        if at_once:
            store(verify())
        else:
            self.thread_pool.try_submit(verify, store)

    def _sweep(self) -> None:
        """Tick all connections and the cache once a second: one timer for all of them."""
        self._sweeper = self.loop.call_later(1, self._sweep)  # first, whatever fails below
        self._heap_trimmer.update(len(self.connections))
        self._tick_some(list(self.connections))
        try:
            if self.cache:
                self.cache.tick()
        except Exception as error:  # noqa: BLE001 - the next sweep tries again
            _logger.error("internal error: %s in the sweep", describe_exception(error))

    def _tick_some(self, connections: list[Connection]) -> None:
        """Tick some connections, and the others in later turns of the loop."""
        for connection in connections[-_MAX_TICKS:]:
            connection.tick()
        del connections[-_MAX_TICKS:]
        if connections:
            self.loop.call_soon(self._tick_some, connections)
