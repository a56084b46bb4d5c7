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
from functools import partial
from typing import TYPE_CHECKING, cast

from aserve.cache.cached_response import CachedResponse, HeadLookup
from aserve.cache.counted_lookup import CountedLookup
from aserve.cache.dependencies import Dependencies
from aserve.cache.keys import CacheKey, ConnectionFacts
from aserve.cache.response_cache import ResponseCache
from aserve.filesystem.watched_directories import WatchedDirectories
from aserve.handlers.error_pages import INTERNAL_ERROR
from aserve.handlers.handler import RequestContext
from aserve.http.messages import BodyPart, HttpError, Request, Response
from aserve.http1.limits import Limits
from aserve.linux.malloc_trim import HeapTrimmer
from aserve.policies.site import Site
from aserve.transport.connection_limiter import ConnectionLimiter, process_limits
from aserve.transport.eventloop.acceptor import Acceptor
from aserve.transport.eventloop.connection import Connection
from aserve.transport.eventloop.connection_host import PendingResponse
from aserve.transport.eventloop.discarding import discard_response
from aserve.transport.eventloop.sink_queue import SinkQueue
from aserve.transport.eventloop.thread_pool import PoolSize, ThreadPool
from aserve.transport.eventloop.write_readiness import WriteReadiness
from aserve.transport.internal_errors import describe_exception
from aserve.transport.observers import ReportRemaining, ResponseObserver
from aserve.transport.server_connection import ServerConnection

if TYPE_CHECKING:
    from aserve.tls.presented import PresentedCertificates
    from aserve.transport.eventloop.early_connection import EarlyConnection
    from aserve.transport.eventloop.proxied_cache import ProxiedClients
    from aserve.transport.proxy_protocol import ProxyProtocol

_MAX_LAST_TURNS = 100  # of the loop, for aborted connections to be closed
_RELEASE_TIMEOUT = 2.0  # seconds that a stop waits for sinks and streams to be closed
_MAX_TICKS = 256  # connections in one turn; 10,000 at once would delay the busy ones

_BUSY = HttpError(503, "The server is busy. Try again in a moment.")

_logger = logging.getLogger("aserve")


class EventLoopServer:
    """Serves a site on one event loop, with its connections and its thread pool.

    limiter: that of the server which this one is to succeed; it counts the connections of both.
    certificates: what it presents, None for a server without TLS. proxy_protocol: what reads the
    header that each connection begins with, None if they have none.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a server
        self,
        site: Site,
        limits: Limits,
        size: PoolSize,
        observer: ResponseObserver | None = None,
        cache: ResponseCache | None = None,
        limiter: ConnectionLimiter[ServerConnection] | None = None,
        certificates: "PresentedCertificates | None" = None,
        proxy_protocol: "ProxyProtocol | None" = None,
    ) -> None:
        self._certificates = certificates
        self._proxy_protocol = proxy_protocol
        self.limits = limits
        self.observer = observer
        self.cache = None if site.keyed_on.everything else cache
        self.sees_connection = site.keyed_on.sees_connection or site.proxies is not None
        self.partition_key = site.keyed_on.partition_key
        self.visible = site.keyed_on.visible
        self.loop = asyncio.get_running_loop()
        self._monitor = cache.monitor if cache else None
        self._directories: WatchedDirectories | None = None
        self.write_readiness = WriteReadiness(self.loop)
        try:
            self.thread_pool = ThreadPool(self.loop, size)
        except BaseException:
            self.write_readiness.close()
            raise
        self.accept_body = site.accept_body
        self.count_request = site.count_request
        self._site = site
        self._is_barred = site.is_barred
        self.proxied_clients = self._find_proxied_clients()
        self.limiter: ConnectionLimiter[ServerConnection] = limiter or ConnectionLimiter(
            process_limits(limits), cache
        )
        self.successor: EventLoopServer | None = None
        self._left: set[ServerConnection] = set()  # connections with a response of this server
        self._all_left = asyncio.Event()
        self._acceptors: list[Acceptor] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._all_closed: asyncio.Event | None = None  # while stopping
        self._heap_trimmer = HeapTrimmer()
        self.sink_queue = SinkQueue(self.thread_pool, size.threads)

    def use_directories(self, directories: WatchedDirectories) -> None:
        """Have a thread read the names of directories, whose monitor the cache shares, if any."""
        directories.start(self.thread_pool.try_submit)
        self._directories = directories
        self._monitor = directories.monitor

    async def start(self, listeners: Iterable[socket.socket]) -> None:
        """Accept connections on bound sockets; on an error release everything and close them."""
        try:
            self._start_accepting(listeners)
        except BaseException:
            self.release()
            raise
        self._sweep()

    def _start_accepting(self, listeners: Iterable[socket.socket]) -> None:
        create = self._tls_acceptors() if self._certificates else self._create_acceptor
        self._acceptors = [create(listener) for listener in listeners]
        for acceptor in self._acceptors:
            acceptor.start(self.limits.backlog)

    def _create_acceptor(self, listener: socket.socket) -> Acceptor:
        acceptor = Acceptor(
            listener,
            self._cache_of_acceptors(),
            self.observer,
            partial(Connection, self),
            self.limits.transfer_timeout,
        )
        if self._proxy_protocol:
            from aserve.transport.eventloop.early_connection import (  # noqa: PLC0415 - if it is on
                EarlyConnection,
            )

            self._receive_headers(acceptor, listener, partial(EarlyConnection, self))
        return acceptor

    def _cache_of_acceptors(self) -> ResponseCache | None:
        """Return the cache if what it has is for all clients, whatever proxies say of them.

        Headers of the PROXY protocol are known to the acceptors, those in requests are not.
        """
        believes_requests = self._site.proxies is not None and self._proxy_protocol is None
        decides = self._site.keyed_on.sees_connection or believes_requests
        return None if decides else self.cache

    def _tls_acceptors(self) -> Callable[[socket.socket], Acceptor]:
        """Return what makes an acceptor of clients that speak TLS."""
        # Only here: they import ssl, which a server without TLS does not need.
        from aserve.transport.eventloop.tls_connection import TlsConnection  # noqa: PLC0415
        from aserve.transport.eventloop.tls_transport import TlsLayer, TlsTransport  # noqa: PLC0415

        layer = TlsLayer(self.loop, cast("PresentedCertificates", self._certificates))
        wrap = partial(TlsTransport, layer)

        def create(listener: socket.socket) -> Acceptor:
            acceptor = Acceptor(
                listener,
                None,  # the first bytes of a client are no request
                None,
                lambda _, peer: wrap(TlsConnection(self, None, peer)),
                self.limits.transfer_timeout,
            )
            if self._proxy_protocol:
                acceptor.wrap_early = wrap
                self._receive_headers(acceptor, listener, partial(TlsConnection, self))
            return acceptor

        return create

    def _receive_headers(
        self,
        acceptor: Acceptor,
        listener: socket.socket,
        new_connection: "Callable[[asyncio.Transport, str], EarlyConnection]",
    ) -> None:
        """Have the header of a proxy received on each connection, before anything else."""
        from aserve.transport.eventloop.header_receiver import HeaderReceiver  # noqa: PLC0415

        protocol = cast("ProxyProtocol", self._proxy_protocol)
        family = int(listener.family)
        receiver = HeaderReceiver(acceptor, family, protocol, new_connection, self.limits)
        acceptor.on_accept = receiver.receive

    async def stop_accepting(self) -> None:
        """Accept no more; return when each client that was accepted has its connection.

        Responses that the acceptor still sends are left to stop: a slow client takes its time.
        """
        for acceptor in self._acceptors:
            acceptor.close()
        for acceptor in self._acceptors:
            await acceptor.wait_connected()

    async def hand_over(self, successor: "EventLoopServer") -> None:
        """Leave all connections to a successor, which accepts already: its are the next requests.

        Return when that is so. A request that is under way is answered by this server to its end,
        which wait_handed_over waits for.
        """
        await self.stop_accepting()
        self.successor = successor
        successor._all_closed = self._all_closed  # noqa: SLF001 - of the same class
        self.limiter.change_limits(process_limits(successor.limits), successor.cache)
        if self._sweeper:  # the successor ticks all connections
            self._sweeper.cancel()
        if self._monitor:  # nothing is cached any more, and the successor needs the watches
            self._monitor.close()
        connections = cast("set[Connection]", self.connections)
        own = [connection for connection in connections if connection.belongs_to(self)]
        self._left = set(own)
        for number, connection in enumerate(own):
            connection.follow_reload()
            if number % _MAX_TICKS == _MAX_TICKS - 1:
                await asyncio.sleep(0)
        self._check_left()

    async def wait_handed_over(self) -> None:
        """Wait for the last response of this server, and release what it holds."""
        await self._all_left.wait()
        for acceptor in self._acceptors:
            await acceptor.wait_closed()
        self.release()
        self.successor = None  # or the first server would keep the chain of all later ones

    def leave(self, connection: ServerConnection) -> None:
        """Note that a connection has gone over to a successor."""
        self._left.discard(connection)
        self._check_left()

    def _check_left(self) -> None:
        if self.successor and not self._left:
            self._all_left.set()

    async def retire(self) -> None:
        """Accept no more; make the next response of each connection its last one.

        Return when all are closed, whichever successor they have then.
        """
        await self.stop_accepting()
        self._all_closed = all_closed = asyncio.Event()
        for connection in list(self.connections):
            connection.close_after_next_response()
        if self.connections:
            await all_closed.wait()

    async def stop(
        self, grace: float | None, report_remaining: ReportRemaining | None = None
    ) -> None:
        """Stop accepting, wait at most grace seconds for open responses, then abort the rest.

        grace: None for no limit but those on each response.
        report_remaining: called with the numbers of responses and connections that are still open.
        """
        self._all_closed = asyncio.Event()
        self.limiter.close()
        for acceptor in self._acceptors:
            acceptor.close()
        for connection in list(self.connections):
            connection.close_after_response()
        if self._monitor:  # nothing is cached any more, and a next worker needs the watches
            self._monitor.close()
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
        self.release()

    def release(self) -> None:
        """Release everything that the server holds besides its connections; twice does no harm."""
        for acceptor in self._acceptors:
            acceptor.close()
        if self._sweeper:
            self._sweeper.cancel()
        self.thread_pool.shutdown(wait=False)
        self.write_readiness.close()
        if self._monitor:
            self._monitor.close()

    async def _wait_aborted(self) -> None:
        """Wait until aborted connections are closed and have recorded how much they sent."""
        for acceptor in self._acceptors:
            await acceptor.wait_closed()
        for _ in range(_MAX_LAST_TURNS):
            if not self.connections:
                break
            await asyncio.sleep(0)
        for _ in range(2):  # tasks that closing connections have cancelled
            await asyncio.sleep(0)
        with suppress(TimeoutError):  # sinks and streams that a thread still works for
            async with asyncio.timeout(_RELEASE_TIMEOUT):
                await self.thread_pool.wait_released()

    def abort(self) -> None:
        """Abort every connection, and those that are just being made."""
        self.limiter.close()
        for acceptor in self._acceptors:
            acceptor.abort()
        for connection in list(self.connections):
            connection.abort()

    @property
    def connections(self) -> set[ServerConnection]:
        """The open connections."""
        return self.limiter.connections

    def remove(self, connection: ServerConnection) -> None:
        """Remove a closed connection."""
        if self.successor:
            self.leave(connection)
            self.successor.remove(connection)
            return
        self.limiter.remove(connection)
        if self._all_closed and not self.connections:
            self._all_closed.set()

    def _find_proxied_clients(self) -> "ProxiedClients | None":
        """Return what finds the clients behind trusted proxies, None where none is trusted."""
        site = self._site
        if not site.proxies:
            return None
        from aserve.transport.eventloop.proxied_cache import ProxiedClients  # noqa: PLC0415 - off

        return ProxiedClients(
            site.proxies, site.keyed_on, self.cache, site.is_barred, site.count_request
        )

    def cache_for(self, visible: ConnectionFacts, partition_key: bytes) -> HeadLookup | None:
        """Return the cached responses for a connection of which this is visible.

        There are none for a client that guesses passwords: a hit would tell it that one is right.
        """
        if self._is_barred and self._is_barred(visible.client, int(time.time())):
            return None
        if not self.cache:
            return None
        found, count = self.cache.select_partition(partition_key), self.count_request
        return CountedLookup(found, count, visible.client) if count else found

    def handle(
        self,
        request: Request,
        context: RequestContext,
        done: Callable[[PendingResponse], None],
        *,
        keep_alive: bool,
        partition_key: bytes,
    ) -> CachedResponse | PendingResponse | None:
        """Return the response if it needs no disk, else None: done gets it from a thread."""
        key = None
        is_barred = self._is_barred and self._is_barred(context.client, context.now)
        if (cache := self.cache) and not (request.error or is_barred):
            key = cache.keys.key(request, keep_alive=keep_alive, partition_key=partition_key)
            if key and (cached := cache.lookup_key(key, request, context.now)):
                return cached
        try:
            response = self._site.handle(request, context)
        except BlockingIOError:
            return self._handle_in_pool(request, context._replace(may_wait=True), done, key)
        if cache and key and not cache.should_store(key, response):
            key = None
        return PendingResponse(response, context, key)

    def _handle_in_pool(
        self,
        request: Request,
        context: RequestContext,
        done: Callable[[PendingResponse], None],
        key: CacheKey | None,
    ) -> PendingResponse | None:
        """Queue the one hop of a request: to a thread, which may wait for the disk."""

        def deliver(response: Response) -> None:
            is_stored = self.cache and key and self.cache.should_store(key, response)
            done(PendingResponse(response, context, key if is_stored else None))

        is_queued = self.thread_pool.try_submit(
            lambda: self._site.handle(request, context),
            deliver,
            lambda: done(self.reject(request, context, INTERNAL_ERROR)),
        )
        return None if is_queued else self.reject(request, context, _BUSY)

    def reject(
        self, request: Request, context: RequestContext, error: HttpError
    ) -> PendingResponse:
        """Return the error response to a request."""
        response = self._site.handle(request._replace(error=error), context)
        return PendingResponse(response, context)

    def finish(
        self, request: Request, context: RequestContext, response: Response
    ) -> PendingResponse:
        """Return the response of a sink, with what every response of the site has."""
        return PendingResponse(self._site.finish(request, context, response), context)

    def populate_cache(
        self, request: Request, pending: PendingResponse, parts: Sequence[BodyPart], *, closes: bool
    ) -> None:
        """Cache a response if it is worth it and is still the same once its files are watched.

        A thread checks that while the response is being sent. A busy loop makes a thread wait 5 ms
        for the interpreter, dozens of times, so the loop does it itself if nothing can block.
        """
        (response, context, key), cache = pending, self.cache
        if not (cache and key):
            return
        if self._all_closed or self.successor:
            return
        generation, now = cache.monitor.generation(), int(time.time())
        cached = CachedResponse(key, parts, response, closes=closes)
        at_once = not context.may_wait and cache.root_is_local
        again = context._replace(now=now, may_wait=not at_once)

        def verify() -> tuple[Dependencies, bool]:
            # Watch first, so that no later change is missed.
            dependencies = cache.watch_dependencies(response, now, at_once=at_once)
            try:
                second_response = self._site.handle(request, again)
            except BlockingIOError:
                return dependencies, False
            is_same = second_response.same_as(response)
            discard_response(second_response, self)
            return dependencies, is_same

        def store(result: tuple[Dependencies, bool]) -> None:
            dependencies, is_same = result
            if is_same:
                cache.store(cached, dependencies, generation)
            else:
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
            if self._monitor and not self._all_closed:  # a tick may start to watch again
                self._monitor.tick()
            if self._directories:
                self._directories.roots.close_unused()
            if self.cache:
                self.cache.tick()
        except Exception as error:  # noqa: BLE001 - the next sweep tries again
            _logger.error("internal error: %s in the sweep", describe_exception(error))

    def _tick_some(self, connections: list[ServerConnection]) -> None:
        """Tick some connections, and the others in later turns of the loop."""
        for connection in connections[-_MAX_TICKS:]:
            connection.tick()
        del connections[-_MAX_TICKS:]
        if connections:
            self.loop.call_soon(self._tick_some, connections)
