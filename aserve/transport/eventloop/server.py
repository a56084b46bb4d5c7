"""The default model: the event loop reads and writes, a bounded thread pool does the file work.

It is a Proactor as far as the logic can tell, which sees only completed reads and writes, and it
is simulated because the loop completes them by readiness: epoll under uvloop's transports.
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

_MAX_LAST_TURNS = 100  # of the loop, for connections that were cut off to be gone
_MAX_TICKS = 256  # connections looked at in one turn; 10,000 at once hold up whoever is busy

_logger = logging.getLogger("aserve")


class EventLoopServer:
    """One event loop's share of a site: its connections and its thread pool."""

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
                lambda octets: Connection(self, octets),
                self.limits.transfer_timeout,
            )
            for listener in listeners
        ]
        for door in self._acceptors:
            door.start(self.limits.backlog)
        self._sweep()

    async def stop(self, grace: float, report_remaining: ReportRemaining | None = None) -> None:
        """Accept no more, let what has begun end for at most grace seconds, then cut it off.

        tell: is told of what has begun.
        """
        self._all_closed = asyncio.Event()
        self._limiter.close()
        for door in self._acceptors:
            door.close()
        for connection in list(self.connections):
            connection.close_after_response()
        await asyncio.sleep(0)  # in which those that are idle go
        if report_remaining:
            responses = sum(one.is_responding for one in self.connections)
            report_remaining(responses, len(self.connections))
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                for door in self._acceptors:
                    await door.wait_closed()
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
        """Wait until those that were cut off have told so, and how much of them was sent."""
        for _ in range(_MAX_LAST_TURNS):
            if not self.connections:
                break
            await asyncio.sleep(0)
        for _ in range(2):  # a task that is cancelled by its connection's end comes behind it
            await asyncio.sleep(0)

    def abort(self) -> None:
        """Cut off every connection."""
        for door in self._acceptors:
            door.abort()
        for connection in list(self.connections):
            connection.abort()

    @property
    def connections(self) -> set[Connection]:
        """Those that are open."""
        return self._limiter.connections

    def admit(self, connection: Connection) -> Decision:
        """Take a connection into account, or tell that it is one too many."""
        return self._limiter.admit(connection)

    def remove(self, connection: Connection) -> None:
        """Drop a connection that is gone."""
        self._limiter.remove(connection)
        if self._all_closed and not self.connections:
            self._all_closed.set()

    def reserve_descriptor(self, connection: Connection) -> bool:
        """Take one more descriptor of a connection into account; tell whether there is one."""
        return self._limiter.reserve_descriptors(connection, 1)

    def release_descriptors(self, connection: Connection) -> None:
        """Note that a connection holds no descriptor any more beside its own."""
        self._limiter.release_descriptors(connection)

    def handle(
        self, request: Request, done: Callable[[PendingResponse], None], *, keep_alive: bool
    ) -> CachedResponse | PendingResponse | None:
        """Return the reply where none needs the disk; else send the request on its one hop."""
        if request.error:
            return PendingResponse(error_response(request, request.error))
        now = time.time()
        key = cache_key(request, keep_alive=keep_alive) if self.cache else None
        if self.cache and key and (kept := self.cache.lookup_key(key, request, now)):
            return kept
        second = int(now)
        try:
            return PendingResponse(
                self._site.handle(request, second, wait=False), key, was_nonblocking=True
            )
        except BlockingIOError:
            pass
        # Its one hop, to where it may wait for a disk.
        answer = self._site.handle

        def failed() -> None:
            done(
                PendingResponse(
                    error_response(
                        request, HttpError(500, "Something went wrong here.", close=True)
                    )
                )
            )

        if self.thread_pool.try_submit(
            lambda: PendingResponse(answer(request, second), key), done, failed
        ):
            return None
        return PendingResponse(
            error_response(request, HttpError(503, "The server is busy. Try again in a moment."))
        )

    def populate_cache(
        self, request: Request, answer: PendingResponse, pieces: Sequence[BodyPart], *, closes: bool
    ) -> None:
        """Remember a reply that is worth it, if the true path says the same once it is watched.

        A thread does so, beside the reply which leaves meanwhile. But a busy loop lets threads wait
        for the interpreter 5 ms at a time, and it takes them dozens of times: where nothing can
        have to be waited for, the loop does it itself.
        """
        (response, key, at_once), recall = answer, self.cache
        if not (recall and key and recall.should_store(key, response)) or self._all_closed:
            return
        since, now = recall.generation(), int(time.time())
        kept = CachedResponse(key, pieces, response, closes=closes)
        at_once = at_once and recall.root_is_local

        def look_again() -> tuple[Dependencies | None, bool]:
            # First, so that no later change is missed.
            trails = recall.watch_dependencies(request, now, at_once=at_once)
            try:
                again = self._site.handle(request, now, wait=not at_once)
            except BlockingIOError:
                return trails, False
            return trails, again.same_as(response)

        def keep(found: tuple[Dependencies | None, bool]) -> None:
            trails, alike = found
            if trails and alike:
                recall.store(kept, trails, since)
            elif trails:
                recall.discard(trails)

        if at_once:
            keep(look_again())
        else:
            self.thread_pool.try_submit(look_again, keep)

    def _sweep(self) -> None:
        """Look at every connection once a second: one timer for all of them."""
        self._sweeper = self.loop.call_later(1, self._sweep)  # first: whatever fails in this one
        self._heap_trimmer.update(len(self.connections))
        self._tick_some(list(self.connections))
        try:
            if self.cache:
                self.cache.tick()
        except Exception as error:  # noqa: BLE001 - what it forgot to forget, it will in a second
            _logger.error("internal error: %s in the sweep", describe_exception(error))

    def _tick_some(self, connections: list[Connection]) -> None:
        """Look at some of them, and at the others after what else has to be done."""
        for connection in connections[-_MAX_TICKS:]:
            connection.tick()
        del connections[-_MAX_TICKS:]
        if connections:
            self.loop.call_soon(self._tick_some, connections)
