"""The connections of one process: each asks, notes the time, reads its answer, asks again."""

import asyncio
import errno
import math
import os
import time
from bisect import bisect_right
from collections.abc import Callable
from typing import cast

from abench.connect import Dialer
from abench.dispatch import Dispatcher
from abench.histogram import Histogram
from abench.lines import Line
from abench.message import IDEMPOTENT
from abench.mix import UNASKED, Answer
from abench.pacing import Backoff
from abench.plan import Plan
from abench.reply import HeadlessReader, ReplyError, ReplyReader, SearchingReader
from abench.samples import REDIRECT, is_redirect
from abench.stages import StageCount, StageNotes
from abench.summary import Recorder, Summary

_clock = time.perf_counter_ns
_ENDLESS = cast("int", math.inf)  # counts down for ever, and never ends
_MOST_READ = 65_536  # octets at once
STALE = "a kept connection ended before a byte of the response to"  # and the method


class Pool:
    """What the connections of one process share.

    `kind` is what they are, `dialer` opens them; `left` is how many requests may still start;
    `dispatcher` says when, where there is a schedule; `on_drained` is called when none is left
    and none is under way.
    """

    def __init__(
        self,
        plan: Plan,
        kind: "type[Connection]",
        dialer: Dialer,
        on_drained: Callable[[], None],
    ) -> None:
        self.plan = plan
        self.dialer = dialer
        self.recorder = Recorder()
        self.buffer = bytearray(_MOST_READ)  # what has just come, on whichever connection
        self.view = memoryview(self.buffer)
        self.mix = plan.mix()
        self.keep_alive = plan.keep_alive
        self.retries = plan.method in IDEMPOTENT
        self.backoff = Backoff()
        self.left = _ENDLESS
        self.warmed = 0  # requests that were under way when counting began
        self.limit_us = round(plan.timeout_s * 1e6)
        self.running = False
        self.dispatcher: Dispatcher | None = None
        if plan.schedule:
            loop = asyncio.get_running_loop()
            self.dispatcher = Dispatcher(loop, plan.schedule, plan.duration_s)
        self.connections = [kind(self) for _ in range(plan.connections)]
        self._stage_ends_us = [int(end_s * 1e6) for end_s in plan.stage_ends_s]
        self._stages = [StageNotes() for _ in self._stage_ends_us]
        self._most = plan.requests or _ENDLESS
        self._active = plan.connections
        self._on_drained = on_drained
        self._pausing = self._paused_ns = 0  # connections in a pause, and how long all were
        self._pausing_since = _clock()

    @property
    def waits(self) -> bool:
        """Whether an answer is waited for, or a connection: with a schedule, all may be idle."""
        return not self.dispatcher or self.dispatcher.free < self._active

    @property
    def answered(self) -> int:
        """How many replies have come so far."""
        return self.recorder.answered + self.warmed

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
        self.pause(0)
        self._paused_ns = 0
        self.left = self._most
        if self.dispatcher:
            self.dispatcher.count(self._most)
        return before

    def pause(self, more: int) -> int:
        """Count `more` connections (or fewer) that wait before they are opened again.

        Returns for how long all together have waited, in nanoseconds.
        """
        now = _clock()
        self._paused_ns += self._pausing * (now - self._pausing_since)
        self._pausing += more
        self._pausing_since = now
        return self._paused_ns

    def note_waits(self, summary: Summary, now_us: int) -> None:
        """Take note of how long what is under way has been, before it is stopped."""
        waits = [wait for each in self.connections for wait in each.waits_us(now_us)]
        summary.waits = Histogram.of([wait for wait, _ in waits])
        if self.dispatcher:
            due = [wait for _, wait in waits]
            if first := self.dispatcher.longest_wait_us(now_us):
                due.append(first)
            summary.due_waits = Histogram.of(due)

    def stage_at(self, due_us: int) -> StageNotes:
        """Return where to take note of a request by when it was due."""
        after_us = self.dispatcher.since_origin_us(due_us) if self.dispatcher else 0
        number = bisect_right(self._stage_ends_us, after_us)
        return self._stages[min(number, len(self._stages) - 1)]

    def take(self, at_s: int) -> Summary:
        """Return all that was counted since the last call, as of the second `at_s`; forget it."""
        taken = self.recorder.take(at_s)
        if self.dispatcher:
            taken.started, taken.late = self.dispatcher.take_counts()
        for number, notes in enumerate(self._stages):
            if notes.started or notes.service.noted:
                taken.stages[number] = notes.take()
        return taken

    def note_stages(self, summary: Summary, now_us: int) -> None:
        """Take note of what became of each stage, before the rest of it is stopped."""
        if not (self._stages and self.dispatcher):
            return
        waits: dict[StageNotes, list[tuple[int, int]]] = {notes: [] for notes in self._stages}
        for each in self.connections:
            if each.stage:
                waits[each.stage] += each.waits_us(now_us)
        before = 0
        for number, (notes, end_s) in enumerate(
            zip(self._stages, self.plan.stage_ends_s, strict=True)
        ):
            stage = summary.stages.setdefault(number, StageCount())
            skipped = self.dispatcher.skipped(now_us, end_s)
            first = [self.dispatcher.longest_wait_us(now_us)] if skipped > before == 0 else []
            stage.note_waits(waits[notes], first)
            stage.skipped, before = skipped - before, skipped

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

    def learn(self, reader: ReplyReader, answer: Answer, length: int) -> None:
        """Remember a reply just read, `length` octets, to recognise the next that is like it."""
        alike = reader.keep_alive if self.keep_alive else not self.dispatcher
        if not alike or answer.expectation.text:  # which is in the body, and a head is not
            return
        head = reader.fixed_head()
        if head is not None and head != answer.head:
            if self.mix.only:
                self.recorder.expect(reader.status, length)
            answer.head, answer.length, answer.status = head, length, reader.status

    def retire(self) -> None:
        """Take note that one connection has nothing more to ask."""
        self._active -= 1
        if not self._active:
            self._on_drained()


class Connection:
    """One connection to the server, opened again whenever it was lost.

    It has at most one request under way, since `asked_at` (microseconds of the monotonic clock;
    0 when there is none). A request that has to open its connection first is timed from there.
    A lost connection is opened again only from `connection_lost`, so that what one transport still
    has to say never reaches the next.

    A kept connection that ends before a byte of the response came was stale: the server may have
    closed it before it saw the request. That is asked again on a new connection if its method is
    idempotent (RFC 9112 section 9.3.1), and timed from when it was first asked. It is done once:
    what is asked on a connection that was opened for it is not asked again.
    """

    __slots__ = (
        "_answer",
        "_begins",
        "_constant",
        "_count",
        "_fresh",
        "_leaving",
        "_misses",
        "_note",
        "_opened",
        "_opened_for",
        "_pool",
        "_reader",
        "_request",
        "_retired",
        "_transport",
        "_warming",
        "_write",
        "asked_at",
        "opening",
    )

    def __init__(self, pool: Pool) -> None:
        self.asked_at = 0
        self._pool = pool
        self._reader = reader_for(pool.plan)
        self._answer: Answer = UNASKED
        self._begins = pool.buffer.startswith
        self._constant = b""  # its octets, where they are always the same
        self._request = b""  # the bytes of what is asked, to be sent once a connection stands
        self._count: Callable[[int], object]  # a reply that was recognised
        if only := pool.mix.only:
            self._answer = only.answer
            self._reader.bodiless = self._answer.bodiless
            self._request = self._constant = only.request.octets(0)
            self._count = pool.recorder.service.append
        else:
            self._count = self._count_known
        self._note: Callable[[int], object] = self._count
        self._transport: Line | None = None
        self.opening: Callable[[], object] | None = None  # gives up an attempt that is under way
        self._opened: asyncio.Future[None] | None = None  # before the run: an attempt has ended
        self._fresh = False  # a request is under way and no octet of its reply has come
        self._leaving = False  # this side has closed it, and waits for connection_lost
        self._opened_for = 0  # the `asked_at` of the request it was opened for
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
    # one reply read in full. All connections read into one buffer, which stays in the cache: to
    # make one for each reply takes a twentieth more. What is called is looked up first, and so
    # plainly: to call an attribute that is a slot takes 15 ns more each time (Python 3.11).

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio names it
        """Return where the transport is to put a piece of a reply."""
        return self._pool.view

    def buffer_updated(self, nbytes: int) -> None:
        """Take a piece of a reply from the transport."""
        answer, begins, note, write = self._answer, self._begins, self._note, self._write
        if not (self._fresh and nbytes == answer.length and begins(answer.head)):
            self._read(nbytes)
            return
        pool = self._pool
        now = _clock() // 1000
        took = now - self.asked_at
        if took > pool.limit_us:
            self._fail_late(took)
            return
        note(took)
        if pool.left:
            pool.left -= 1
            self.asked_at = now
            write(self._constant or self._turn())
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
        if not self._constant:
            self._turn()
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
            self._fail_incomplete()

    def _fail_incomplete(self) -> None:
        if self._reader.begun:
            self._fail("timeout", "an incomplete response:", self._reader.first_line)
        else:
            self._fail("timeout", "no byte of a response came in time")

    def disregard(self) -> None:
        """Leave out what comes of the request under way; without a step more for any other."""
        if self.asked_at:
            self._warming = True
            self._note = self._leave_out

    def _leave_out(self, _took: int = 0) -> None:
        self._warming = False
        self._note = self._count
        self._pool.warmed += 1

    def waits_us(self, now_us: int) -> list[tuple[int, int]]:
        """Return for each request under way that counts how long it is: from its start, and due."""
        if not self.asked_at or self._warming:
            return []
        wait = now_us - self.asked_at
        return [(wait, wait)]

    @property
    def stage(self) -> StageNotes | None:
        """The stage that the request under way is of; None without one."""
        return None

    def abandon(self) -> int:
        """Close for good; return how many requests were under way that count."""
        under_way = int(self.asked_at != 0 and not self._warming)
        self.asked_at = 0
        self._fresh = False
        if self.opening:
            self.opening()
        elif self._transport is not None:
            self._transport.abort()
        return under_way

    def connection_made(self, transport: Line) -> None:
        """Take a new connection from the dialer."""
        self._transport = transport
        self._leaving = False
        self._opened_for = self.asked_at
        self._write = transport.write
        self._misses = 0
        self._reader.renew()
        self._conclude_opening()
        if self.asked_at:
            self._send()

    def eof_received(self, *, orderly: bool = True) -> None:
        """Take the end of what the server sends: the transport closes after it.

        A response that lasts until then is complete only if the end is orderly.
        """
        if not self.asked_at or self._is_stale():
            return  # connection_lost comes next
        if orderly and self._reader.finish():
            self._conclude()
        else:
            self._fail_ended()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of a connection and open the next."""
        self._transport = None
        if not self.asked_at:
            self.ask()
        elif self._leaving:  # what was asked meanwhile was never sent
            self._pool.dialer.dial(self)
        elif self._is_stale():
            self._ask_again()
        else:
            begun = ("within the response:", self._reader.first_line) if self._reader.begun else ()
            self._fail("reset", exc or "the connection was reset", *begun)
            self.ask()

    def _fail_ended(self) -> None:
        """Fail what was under way when the server ended its side."""
        ended = "the connection ended"
        if self._reader.begun:
            self._fail("protocol", ended, "within the response:", self._reader.first_line)
        else:
            self._fail("reset", ended, "before a byte of the response")

    def _is_stale(self) -> bool:
        """Whether a connection that ends now does so before a byte of what it was kept for."""
        return self._fresh and self.asked_at != self._opened_for and self._pool.keep_alive

    def _ask_again(self) -> None:
        self._fresh = False
        if self._pool.retries:
            self._pool.recorder.retried += 1
            self._pool.dialer.dial(self)
        else:
            self._fail("stale", STALE, self._pool.plan.method)
            self.ask()

    def missed(self, number: int = 0, reason: str = "", said: str = "") -> None:
        """Count a connection that could not be opened, and try again after a pause."""
        self._misses += 1
        self._conclude_opening()
        if not self._pool.running:
            return
        reason = reason or errno.errorcode.get(number, "timeout")
        self._pool.recorder.missed(reason)
        said = said or (os.strerror(number) if number else "no connection was opened in time")
        self._pool.recorder.sample("connect", reason, said)
        self._fail("connect")
        if self._transport is None:  # else it came as it was given up, and connection_lost asks
            pause = self._pool.backoff.pause(self._misses)
            self._pool.pause(1)
            asyncio.get_running_loop().call_later(pause, self._end_pause)

    def _end_pause(self) -> None:
        """Ask after a pause."""
        self._pool.pause(-1)
        self.ask()

    def _conclude_opening(self) -> None:
        self.opening = None
        if self._opened and not self._opened.done():
            self._opened.set_result(None)

    def _send(self) -> None:
        self._fresh = True
        self._write(self._request)

    def _turn(self) -> bytes:
        """Take the next of several requests, and what is known of its answer.

        That is done once for each: one that is asked again, or whose connection failed to open,
        takes nobody else's turn.
        """
        self._request, self._answer = next(self._pool.mix)
        self._reader.bodiless = self._answer.bodiless
        return self._request

    def _count_known(self, took_us: int) -> None:
        """Count a reply that was recognised, where it is not the only one there is."""
        answer = self._answer
        self._pool.recorder.received(answer.length)
        self._pool.recorder.success(answer.status, took_us)

    def _read(self, nbytes: int) -> None:
        if not self.asked_at:  # nothing was asked: whatever this is, it is no answer
            self._drop()
            return
        self._fresh = False
        self._pool.recorder.received(nbytes)
        try:
            complete = self._reader.feed(self._pool.view[:nbytes])
        except ReplyError as error:
            self._fail("protocol", error, "- the response begins with", self._reader.first_line)
            return
        if complete:
            self._conclude(nbytes)

    def _conclude(self, length: int = 0) -> None:
        """Count a complete reply, whose last piece has `length` octets, and go on."""
        pool, reader = self._pool, self._reader
        took = _clock() // 1000 - self.asked_at
        if took > pool.limit_us:
            self._fail_late(took)
            return
        if self._warming:
            self._leave_out()
        elif kind := reader.fault(self._answer.expectation):
            pool.recorder.failure(kind, reader.status, reader.describe_fault)
        else:
            pool.recorder.success(reader.status, took)
            self._respond(took)
            pool.learn(reader, self._answer, length)
        if reader.status >= 300:
            self._note_redirect()
        self.asked_at = 0
        if reader.keep_alive and pool.keep_alive:
            self.ask()
        else:
            self._close()

    def _respond(self, took: int) -> None:
        """Take note of a success where it counts from another time than its start."""

    def _note_redirect(self) -> None:
        reader = self._reader
        if is_redirect(reader.status):
            self._pool.recorder.sample(REDIRECT, str(reader.status), reader.location)

    def _fail_late(self, took_us: int) -> None:
        self._fail("timeout", "the response was complete, but took", took_us / 1000, "ms")

    def _fail(self, kind: str, *said: object) -> None:
        """Fail the request under way, and end its connection; `said` tells why."""
        self.asked_at = 0
        if self._warming:
            self._leave_out()
        else:
            self._pool.recorder.failure(kind, 0, *said)
        self._drop()

    def _drop(self) -> None:
        self._fresh = False
        self._leaving = True
        if self._transport is not None:
            self._transport.abort()

    def _close(self) -> None:
        self._fresh = False
        self._leaving = True
        if self._transport is not None:
            self._transport.close()

    def retire(self) -> None:
        """Take note that there is nothing more to ask."""
        self.asked_at = 0
        self._close()
        if not self._retired:
            self._retired = True
            self._pool.retire()


def reader_for(plan: Plan) -> ReplyReader:
    """Return what reads the replies to what a plan asks."""
    if plan.http == "0.9":
        return HeadlessReader()
    if plan.expect.text:
        return SearchingReader(plan.expect.text)
    return ReplyReader()
