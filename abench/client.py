"""The connections of one process: each asks, notes the time, reads its answer, asks again."""

import asyncio
import time
from collections.abc import Callable
from typing import cast

from abench.connect import Dialer
from abench.dispatch import Dispatcher
from abench.lines import Line
from abench.pacing import Backoff
from abench.plan import Plan
from abench.reply import ReplyError, ReplyReader
from abench.summary import Recorder, Summary

_clock = time.perf_counter_ns
_ENDLESS = 1 << 62


class Pool:
    """What the connections of one process share.

    `dialer` opens their connections; `left` is how many requests may still start; `dispatcher`
    says when, where there is a schedule; `on_drained` is called when none is left and none is
    under way.
    """

    def __init__(self, plan: Plan, dialer: Dialer, on_drained: Callable[[], None]) -> None:
        self.dialer = dialer
        self.recorder = Recorder()
        self.request = plan.request
        self.keep_alive = plan.keep_alive
        self.backoff = Backoff()
        self.left = _ENDLESS
        self.warmed = 0  # requests that were under way when counting began
        self.limit_us = round(plan.timeout_s * 1e6)
        self.known_head = b""
        self.known_length = -1
        self.running = False
        self.dispatcher: Dispatcher | None = None
        kind = Connection if plan.keep_alive else Closing
        if plan.schedule:
            loop = asyncio.get_running_loop()
            self.dispatcher = Dispatcher(loop, plan.schedule, plan.duration_s)
            kind = Paced
        bodiless = plan.method == "HEAD"
        self.connections = [kind(self, bodiless=bodiless) for _ in range(plan.connections)]
        self._most = plan.requests or _ENDLESS
        self._active = plan.connections
        self._on_drained = on_drained

    @property
    def standing(self) -> int:
        """How many connections are open."""
        return sum(connection.standing for connection in self.connections)

    def begin(self) -> None:
        """Let every connection ask."""
        self.running = True
        for connection in self.connections:
            connection.ask()
        if self.dispatcher:
            self.dispatcher.begin()

    def count(self) -> Summary:
        """Count from here on; return what came before, the warm-up.

        Requests that are under way belong to it, whatever comes of them.
        """
        before = self.recorder.take()
        for connection in self.connections:
            connection.disregard()
        self.left = self._most
        if self.dispatcher:
            self.dispatcher.count(self._most)
        return before

    def stop(self) -> int:
        """End every connection and return how many requests are left without an outcome."""
        self.running = False
        self.left = 0
        unfinished = sum(connection.abandon() for connection in self.connections)
        self.dialer.close()
        if self.dispatcher:
            self.dispatcher.close()
        return unfinished

    def sweep(self) -> None:
        """Fail each request that has been under way for longer than the limit.

        One pass over all connections several times a second costs less than a timer for each
        request.
        """
        oldest = _clock() // 1000 - self.limit_us
        for connection in self.connections:
            if connection.asked_at and connection.asked_at < oldest:
                connection.expire()

    def learn(self, reader: ReplyReader, length: int) -> None:
        """Remember a reply just read, `length` octets, to recognise the next that is like it."""
        alike = reader.keep_alive if self.keep_alive else not self.dispatcher
        head = reader.fixed_head() if alike else None
        if head is not None and head != self.known_head:
            self.recorder.expect(reader.status, length)
            self.known_head, self.known_length = head, length

    def retire(self) -> None:
        """Take note that one connection has nothing more to ask."""
        self._active -= 1
        if not self._active:
            self._on_drained()


class Connection(asyncio.Protocol):
    """One connection to the server, opened again whenever it was lost.

    It has at most one request under way, since `asked_at` (microseconds of the monotonic clock;
    0 when there is none). A request that has to open its connection first is timed from there.
    A lost connection is opened again only from `connection_lost`, so that what one transport still
    has to say never reaches the next.
    """

    __slots__ = (
        "_fresh",
        "_misses",
        "_note",
        "_opened",
        "_pool",
        "_reader",
        "_retired",
        "_transport",
        "_warming",
        "_write",
        "asked_at",
        "opening",
    )

    def __init__(self, pool: Pool, *, bodiless: bool) -> None:
        self.asked_at = 0
        self._pool = pool
        self._note = pool.recorder.service.append
        self._reader = ReplyReader(bodiless=bodiless)
        self._transport: asyncio.Transport | Line | None = None
        self.opening: Callable[[], object] | None = None  # gives up an attempt that is under way
        self._opened: asyncio.Future[None] | None = None  # before the run: an attempt has ended
        self._fresh = False  # a request is under way and no octet of its reply has come
        self._retired = False
        self._warming = False  # what is under way is not counted
        self._misses = 0  # attempts to open that failed since the last that did not

    @property
    def standing(self) -> bool:
        """Whether it is open."""
        return self._transport is not None

    # The hot path. A reply with the head and the length of the last one that was read in full is
    # complete, and this request's end is the next one's start: one clock, one comparison, one
    # append. Everything else goes to the parser. The Date field changes once a second, and costs
    # one reply read in full.

    def data_received(self, data: bytes) -> None:
        """Take a piece of a reply from the transport."""
        pool = self._pool
        if not (
            self._fresh and len(data) == pool.known_length and data.startswith(pool.known_head)
        ):
            self._read(data)
            return
        now = _clock() // 1000
        took = now - self.asked_at
        if took > pool.limit_us:
            self._fail("timeout")
            return
        self._note(took)
        if pool.left:
            pool.left -= 1
            self.asked_at = now
            self._write(pool.request)
        else:
            self.retire()

    def ask(self) -> None:
        """Start a request, if one is left to start."""
        pool = self._pool
        if not pool.running:
            return
        if not pool.left:
            self.retire()
            return
        pool.left -= 1
        self.asked_at = _clock() // 1000
        if self._transport is None:
            pool.dialer.dial(self)
        else:
            self._send()

    async def open(self, limit_s: float) -> None:
        """Connect without a request under way; on failure, or after `limit_s`, stay closed."""
        if not self._pool.left:  # the run was stopped before it began
            return
        self._opened = asyncio.get_running_loop().create_future()
        self._pool.dialer.dial(self)
        try:
            async with asyncio.timeout(limit_s):
                await self._opened
        except TimeoutError:
            if self.opening:
                self.opening()

    def expire(self) -> None:
        """Fail the request under way: its time is over."""
        if self.opening:
            self.opening()
        else:
            self._fail("timeout")

    def disregard(self) -> None:
        """Leave out what comes of the request under way; without a step more for any other."""
        if self.asked_at:
            self._warming = True
            self._note = self._leave_out

    def _leave_out(self, _took: int = 0) -> None:
        self._warming = False
        self._note = self._pool.recorder.service.append
        self._pool.warmed += 1

    def abandon(self) -> bool:
        """Close for good; return whether a request was under way that counts."""
        under_way = self.asked_at != 0 and not self._warming
        self.asked_at = 0
        self._fresh = False
        if self.opening:
            self.opening()
        elif self._transport is not None:
            self._transport.abort()
        return under_way

    def connection_made(self, transport: asyncio.BaseTransport | Line) -> None:
        """Take a new connection from the dialer."""
        self._transport = cast("asyncio.Transport | Line", transport)
        self._write = self._transport.write
        self._misses = 0
        self._reader.renew()
        self._conclude_opening()
        if self.asked_at:
            self._send()

    def eof_received(self) -> None:
        """Take the end of what the server sends: the transport closes after it."""
        if not self.asked_at:
            return
        if self._reader.finish():
            self._conclude()
        else:
            self._fail("protocol" if self._reader.begun else "reset")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio names it
        """Take the end of a connection and open the next."""
        self._transport = None
        if self.asked_at:
            self._fail("reset")
        self.ask()

    def missed(self) -> None:
        """Count a connection that could not be opened, and try again after a pause."""
        self._misses += 1
        self._conclude_opening()
        if not self._pool.running:
            return
        self._fail("connect")
        if self._transport is None:  # else it came as it was given up, and connection_lost asks
            pause = self._pool.backoff.pause(self._misses)
            asyncio.get_running_loop().call_later(pause, self.ask)

    def _conclude_opening(self) -> None:
        self.opening = None
        if self._opened and not self._opened.done():
            self._opened.set_result(None)

    def _send(self) -> None:
        self._fresh = True
        self._write(self._pool.request)

    def _read(self, data: bytes) -> None:
        if not self.asked_at:  # nothing was asked: whatever this is, it is no answer
            self._drop()
            return
        self._fresh = False
        self._pool.recorder.received(len(data))
        try:
            complete = self._reader.feed(data)
        except ReplyError:
            self._fail("protocol")
            return
        if complete:
            self._conclude(len(data))

    def _conclude(self, length: int = 0) -> None:
        """Count a complete reply, whose last piece has `length` octets, and go on."""
        pool, reader = self._pool, self._reader
        took = _clock() // 1000 - self.asked_at
        if took > pool.limit_us:
            self._fail("timeout")
            return
        if self._warming:
            self._leave_out()
        elif 200 <= reader.status < 400:
            pool.recorder.success(reader.status, took)
            self._respond(took)
            pool.learn(reader, length)
        else:
            pool.recorder.failure("status", reader.status)
        self.asked_at = 0
        if reader.keep_alive and pool.keep_alive:
            self.ask()
        else:
            self._close()

    def _respond(self, took: int) -> None:
        """Take note of a success where it counts from another time than its start."""

    def _fail(self, kind: str) -> None:
        self.asked_at = 0
        if self._warming:
            self._leave_out()
        else:
            self._pool.recorder.failure(kind)
        self._drop()

    def _drop(self) -> None:
        self._fresh = False
        if self._transport is not None:
            self._transport.abort()

    def _close(self) -> None:
        self._fresh = False
        if self._transport is not None:
            self._transport.close()

    def retire(self) -> None:
        """Take note that there is nothing more to ask."""
        self.asked_at = 0
        self._close()
        if not self._retired:
            self._retired = True
            self._pool.retire()


class Closing(Connection):
    """A connection for each request."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """Take a piece of a reply from the transport."""
        pool = self._pool
        if not (
            self._fresh and len(data) == pool.known_length and data.startswith(pool.known_head)
        ):
            self._read(data)
            return
        took = _clock() // 1000 - self.asked_at
        if took > pool.limit_us:
            self._fail("timeout")
            return
        self._note(took)
        self.asked_at = 0
        self._close()  # and from its end the next is opened


class Paced(Connection):
    """A connection that asks when a schedule says so."""

    __slots__ = ("_due", "_note_response", "_waits")

    def __init__(self, pool: Pool, *, bodiless: bool) -> None:
        super().__init__(pool, bodiless=bodiless)
        self._due = 0  # microseconds of the monotonic clock
        self._note_response = pool.recorder.response.append
        self._waits = False  # to be given a request

    def data_received(self, data: bytes) -> None:
        """Take a piece of a reply from the transport."""
        pool = self._pool
        if self._warming or not (
            self._fresh and len(data) == pool.known_length and data.startswith(pool.known_head)
        ):
            self._read(data)
            return
        now = _clock() // 1000
        took = now - self.asked_at
        if took > pool.limit_us:
            self._fail("timeout")
            return
        self._note(took)
        self._note_response(now - self._due)
        self.asked_at = 0
        self.ask()

    def ask(self) -> None:
        """Be free for what is due."""
        if self._pool.running and not self._waits and self._pool.dispatcher:
            self._waits = True
            self._pool.dispatcher.take(self)

    def start(self, due_us: int, now_us: int) -> None:
        """Ask what was due."""
        self._waits = False
        self._due, self.asked_at = due_us, now_us
        if self._transport is None:
            self._pool.dialer.dial(self)
        else:
            self._send()

    def _respond(self, took: int) -> None:
        self._note_response(self.asked_at + took - self._due)
