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

from aserve.models.connection import Admission, Answer, Connection, Observe
from aserve.models.thread_pool import PoolSize, ThreadPool
from aserve.semantics.messages import Refused, Request
from aserve.semantics.refusals import refusal
from aserve.site.answer import Site
from aserve.site.recall import Kept, Key, Recall, key_of
from aserve.wire.limits import Limits

_SPARE_FILES = 64  # descriptors for the loop, the log, files that are read, and the refused
_MOST_REFUSED = 16  # connections at once that get a reply although there is no room for them


class SimulatedProactor:
    """One event loop's share of a site: its connections and its thread pool."""

    def __init__(
        self,
        site: Site,
        limits: Limits,
        size: PoolSize,
        observe: Observe | None = None,
        recall: Recall | None = None,
    ) -> None:
        self.limits = limits
        self.observe = observe
        self.recall = recall
        self.loop = asyncio.get_running_loop()
        self.pool = ThreadPool(self.loop, size)
        self.connections: set[Connection] = set()
        self._site = site
        self._refused: set[Connection] = set()
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
        if self.recall:
            self.recall.close()

    def abort(self) -> None:
        """Cut off every connection."""
        for connection in list(self.connections):
            connection.abort()

    def admit(self, connection: Connection) -> Admission:
        """Take a connection into account, or tell that it is one too many.

        Those that are told so wait for their last reply to arrive: of them, too, there are only
        so many, or they would use up the descriptors in place of those that are served.
        """
        self.connections.add(connection)
        if self._empty:  # stopping: it was accepted a moment too late
            self._refused.add(connection)
            return Admission.CUT_OFF
        served = len(self.connections) - len(self._refused) <= self._most
        if served and self._clients[connection.client] < self._most_per_client:
            self._clients[connection.client] += 1
            return Admission.WELCOME
        self._refused.add(connection)
        return Admission.REFUSED if len(self._refused) <= _MOST_REFUSED else Admission.CUT_OFF

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is gone."""
        self.connections.discard(connection)
        if connection in self._refused:
            self._refused.discard(connection)
        else:
            self._clients[connection.client] -= 1
            if not self._clients[connection.client]:
                del self._clients[connection.client]
        if self._empty and not self.connections:
            self._empty.set()

    def answer(
        self, request: Request, done: Callable[[Answer], None], *, persists: bool
    ) -> Kept | Answer | None:
        """Return the reply where none needs the disk; else send the request on its one hop."""
        if request.refusal:
            return Answer(refusal(request, request.refusal))
        now = int(time.time())
        key = key_of(request, persistent=persists) if self.recall else None
        if self.recall and key and (kept := self.recall.find(key, request, now)):
            return kept
        if self.pool.offer(self._job(request, key, now), done):
            return None
        busy = Refused(503, "The server is busy. Try again in a moment.", (("Retry-After", "1"),))
        return Answer(refusal(request, busy))

    def _job(self, request: Request, key: Key | None, now: int) -> Callable[[], Answer]:
        answer, recall = self._site.answer, self.recall
        if not (recall and key and recall.expects(key)):
            return lambda: Answer(answer(request, now))
        since = recall.moment()

        def job() -> Answer:
            trails = recall.trails(request, now)  # first, so that no later change is missed
            return Answer(answer(request, now), key, trails, since)

        return job

    def _sweep(self) -> None:
        """Look at every connection once a second: one timer for all of them."""
        for connection in list(self.connections):
            connection.tick()
        if self.recall:
            self.recall.tick()
        self._sweeper = self.loop.call_later(1, self._sweep)


def _connections_that_files_allow() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, soft - _SPARE_FILES)
