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

from aserve.models.admissions import Admission, Admissions, bounds_of
from aserve.models.connection import Connection
from aserve.models.door import Door
from aserve.models.faults import describe
from aserve.models.heap import Heap
from aserve.models.owner import Answer, Observe, TellRemaining
from aserve.models.room import Room
from aserve.models.thread_pool import PoolSize, ThreadPool
from aserve.semantics.messages import Piece, Refused, Request
from aserve.semantics.refusals import refusal
from aserve.site.answer import Site
from aserve.site.recall import Kept, Recall, key_of
from aserve.site.trails import Trails
from aserve.wire.limits import Limits

_MAX_LAST_TURNS = 100  # of the loop, for connections that were cut off to be gone
_MOST_TICKS = 256  # connections looked at in one turn; 10,000 at once hold up whoever is busy

_logger = logging.getLogger("aserve")


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
        self.room = Room(self.loop)
        self._site = site
        self._admissions: Admissions[Connection] = Admissions(bounds_of(limits), recall)
        self._doors: list[Door] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._empty: asyncio.Event | None = None  # while stopping
        self._heap = Heap()

    async def start(self, listeners: Iterable[socket.socket]) -> None:
        """Accept connections on bound sockets."""
        self._doors = [
            Door(
                listener,
                self.recall,
                self.observe,
                lambda octets: Connection(self, octets),
                self.limits.stall_time,
            )
            for listener in listeners
        ]
        for door in self._doors:
            door.open(self.limits.backlog)
        self._sweep()

    async def stop(self, grace: float, tell: TellRemaining | None = None) -> None:
        """Accept no more, let what has begun end for at most grace seconds, then cut it off.

        tell: is told of what has begun.
        """
        self._empty = asyncio.Event()
        self._admissions.shut()
        for door in self._doors:
            door.close()
        for connection in list(self.connections):
            connection.finish()
        await asyncio.sleep(0)  # in which those that are idle go
        if tell:
            responses = sum(one.is_responding for one in self.connections)
            tell(responses, len(self.connections))
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                for door in self._doors:
                    await door.settle()
                if self.connections:
                    await self._empty.wait()
        self.abort()
        await self._ended()
        if self._sweeper:
            self._sweeper.cancel()
        self.pool.shutdown(wait=False)
        self.room.close()
        if self.recall:
            self.recall.close()

    async def _ended(self) -> None:
        """Wait until those that were cut off have told so, and how much of them was sent."""
        for _ in range(_MAX_LAST_TURNS):
            if not self.connections:
                break
            await asyncio.sleep(0)
        for _ in range(2):  # a task that is cancelled by its connection's end comes behind it
            await asyncio.sleep(0)

    def abort(self) -> None:
        """Cut off every connection."""
        for door in self._doors:
            door.abandon()
        for connection in list(self.connections):
            connection.abort()

    @property
    def connections(self) -> set[Connection]:
        """Those that are open."""
        return self._admissions.open

    def admit(self, connection: Connection) -> Admission:
        """Take a connection into account, or tell that it is one too many."""
        return self._admissions.admit(connection)

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is gone."""
        self._admissions.forget(connection)
        if self._empty and not self.connections:
            self._empty.set()

    def reserve(self, connection: Connection) -> bool:
        """Take one more descriptor of a connection into account; tell whether there is one."""
        return self._admissions.reserve(connection, 1)

    def release(self, connection: Connection) -> None:
        """Note that a connection holds no descriptor any more beside its own."""
        self._admissions.release(connection)

    def answer(
        self, request: Request, done: Callable[[Answer], None], *, persists: bool
    ) -> Kept | Answer | None:
        """Return the reply where none needs the disk; else send the request on its one hop."""
        if request.refusal:
            return Answer(refusal(request, request.refusal))
        now = time.time()
        key = key_of(request, persistent=persists) if self.recall else None
        if self.recall and key and (kept := self.recall.find(key, request, now)):
            return kept
        second = int(now)
        try:
            return Answer(self._site.answer(request, second, wait=False), key, at_once=True)
        except BlockingIOError:
            pass
        # Its one hop, to where it may wait for a disk.
        answer = self._site.answer

        def failed() -> None:
            done(Answer(refusal(request, Refused(500, "Something went wrong here.", close=True))))

        if self.pool.offer(lambda: Answer(answer(request, second), key), done, failed):
            return None
        return Answer(refusal(request, Refused(503, "The server is busy. Try again in a moment.")))

    def remember(
        self, request: Request, answer: Answer, pieces: Sequence[Piece], *, closes: bool
    ) -> None:
        """Remember a reply that is worth it, if the true path says the same once it is watched.

        A thread does so, beside the reply which leaves meanwhile. But a busy loop lets threads wait
        for the interpreter 5 ms at a time, and it takes them dozens of times: where nothing can
        have to be waited for, the loop does it itself.
        """
        (response, key, at_once), recall = answer, self.recall
        if not (recall and key and recall.expects(key, response)) or self._empty:
            return
        since, now = recall.moment(), int(time.time())
        kept = Kept(key, pieces, response, closes=closes)
        at_once = at_once and recall.way_is_known

        def look_again() -> tuple[Trails | None, bool]:
            # First, so that no later change is missed.
            trails = recall.trails(request, now, at_once=at_once)
            try:
                again = self._site.answer(request, now, wait=not at_once)
            except BlockingIOError:
                return trails, False
            return trails, again.is_like(response)

        def keep(found: tuple[Trails | None, bool]) -> None:
            trails, alike = found
            if trails and alike:
                recall.keep(kept, trails, since)
            elif trails:
                recall.release(trails)

        if at_once:
            keep(look_again())
        else:
            self.pool.offer(look_again, keep)

    def _sweep(self) -> None:
        """Look at every connection once a second: one timer for all of them."""
        self._sweeper = self.loop.call_later(1, self._sweep)  # first: whatever fails in this one
        self._heap.crowd(len(self.connections))
        self._tick_some(list(self.connections))
        try:
            if self.recall:
                self.recall.tick()
        except Exception as error:  # noqa: BLE001 - what it forgot to forget, it will in a second
            _logger.error("internal error: %s in the sweep", describe(error))

    def _tick_some(self, connections: list[Connection]) -> None:
        """Look at some of them, and at the others after what else has to be done."""
        for connection in connections[-_MOST_TICKS:]:
            connection.tick()
        del connections[-_MOST_TICKS:]
        if connections:
            self.loop.call_soon(self._tick_some, connections)
