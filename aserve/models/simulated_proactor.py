"""The default model: the event loop reads and writes, a bounded thread pool does the file work.

It is a Proactor as far as the logic can tell, which sees only completed reads and writes, and it
is simulated because the loop completes them by readiness: epoll under uvloop's transports.
"""

import asyncio
import resource
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from aserve.models.connection import Connection, Observe
from aserve.models.thread_pool import ThreadPool
from aserve.semantics.messages import Refused, Request, Response
from aserve.semantics.refusals import refusal
from aserve.site.answer import Site
from aserve.wire.limits import Limits

_SPARE_FILES = 64  # descriptors for the loop, the log, and files that are being read


class SimulatedProactor:
    """One event loop's share of a site: its connections and its thread pool.

    threads, queue: how many requests may be worked on, and how many more may wait for that.
    """

    def __init__(
        self, site: Site, limits: Limits, observe: Observe | None, *, threads: int, queue: int
    ) -> None:
        self.limits = limits
        self.observe = observe
        self.loop = asyncio.get_running_loop()
        self.pool = ThreadPool(self.loop, threads, queue)
        self.connections: set[Connection] = set()
        self._site = site
        self._clients: Counter[str] = Counter()
        self._most = limits.connections or _connections_that_files_allow()
        self._most_per_client = limits.connections_per_client or max(1, self._most * 3 // 4)
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._empty: asyncio.Event | None = None  # while stopping

    async def start(self, listener: socket.socket) -> None:
        """Accept connections on a bound socket."""
        self._server = await self.loop.create_server(
            lambda: Connection(self), sock=listener, backlog=self.limits.backlog
        )
        self._sweep()

    async def stop(self, grace: float) -> None:
        """Accept no more, let what has begun end for at most grace seconds, then cut it off."""
        self._empty = asyncio.Event()
        if self._server:
            self._server.close()
        for connection in list(self.connections):
            connection.finish()
        if self.connections:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), grace)
        self.abort()
        if self._sweeper:
            self._sweeper.cancel()
        self.pool.shutdown(wait=False)

    def abort(self) -> None:
        """Cut off every connection."""
        for connection in list(self.connections):
            connection.abort()

    def admit(self, connection: Connection) -> bool:
        """Take a connection into account; False where it is one too many."""
        self.connections.add(connection)
        self._clients[connection.client] += 1
        return (
            len(self.connections) <= self._most
            and self._clients[connection.client] <= self._most_per_client
        )

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is gone."""
        self.connections.discard(connection)
        self._clients[connection.client] -= 1
        if not self._clients[connection.client]:
            del self._clients[connection.client]
        if self._empty and not self.connections:
            self._empty.set()

    def answer(self, request: Request, done: Callable[[Response], None]) -> Response | None:
        """Return the response where none needs the disk; else send the request on its one hop."""
        if request.refusal:
            return refusal(request, request.refusal)
        if self.pool.offer(partial(self._site.answer, request, int(time.time())), done):
            return None
        busy = Refused(503, "The server is busy. Try again in a moment.", (("Retry-After", "1"),))
        return refusal(request, busy)

    def _sweep(self) -> None:
        """Look at every connection once a second: one timer for all of them."""
        for connection in list(self.connections):
            connection.tick()
        self._sweeper = self.loop.call_later(1, self._sweep)


def _connections_that_files_allow() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, soft - _SPARE_FILES)
