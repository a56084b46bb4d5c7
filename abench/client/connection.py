"""The connections of one process: each asks, notes the time, reads its answer, asks again."""

import asyncio
import errno
import math
import os
import time
from bisect import bisect_right
from collections.abc import Callable
from typing import cast

from abench.client.connector import Connector
from abench.client.response_parser import (
    BodyMatchParser,
    Http09Parser,
    ResponseError,
    ResponseParser,
)
from abench.client.scheduler import Scheduler
from abench.client.socket_transport import SocketTransport
from abench.plan.plan import Plan
from abench.plan.request import IDEMPOTENT_METHODS
from abench.plan.schedule import Backoff
from abench.plan.workload import NOTHING_EXPECTED, ExpectedResponse
from abench.stats.histogram import Histogram
from abench.stats.samples import REDIRECT, is_redirect
from abench.stats.stages import StageRecorder, StageStats
from abench.stats.summary import Recorder, Summary

_clock = time.perf_counter_ns
_UNLIMITED = cast("int", math.inf)  # counts down for ever, and never ends
_READ_SIZE = 65_536  # octets at once
STALE = "a kept connection ended before a byte of the response to"  # and the method


class ConnectionPool:
    """What the connections of one process share.

    `kind` is what they are, `dialer` opens them; `left` is how many requests may still start;
    `dispatcher` says when, where there is a schedule; `on_drained` is called when none is left
    and none is under way.
    """

    def __init__(
        self,
        plan: Plan,
        connection_class: "type[Connection]",
        connector: Connector,
        on_drained: Callable[[], None],
    ) -> None:
        self.plan = plan
        self.connector = connector
        self.recorder = Recorder()
        self.buffer = bytearray(_READ_SIZE)  # what has just come, on whichever connection
        self.view = memoryview(self.buffer)
        self.workload = plan.workload()
        self.keep_alive = plan.keep_alive
        self.retries = plan.method in IDEMPOTENT_METHODS
        self.backoff = Backoff()
        self.remaining = _UNLIMITED
        self.excluded = 0  # requests that were under way when counting began
        self.limit_us = round(plan.timeout_s * 1e6)
        self.running = False
        self.scheduler: Scheduler | None = None
        if plan.schedule:
            loop = asyncio.get_running_loop()
            self.scheduler = Scheduler(loop, plan.schedule, plan.duration_s)
        self.connections = [connection_class(self) for _ in range(plan.connections)]
        self._stage_ends_us = [int(end_s * 1e6) for end_s in plan.stage_ends_s]
        self._stages = [StageRecorder() for _ in self._stage_ends_us]
        self._max_requests = plan.requests or _UNLIMITED
        self._active = plan.connections
        self._on_drained = on_drained
        self._paused = self._paused_ns = 0  # connections in a pause, and how long all were
        self._paused_since = _clock()

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is waited for, or a connection: with a schedule, all may be idle."""
        return not self.scheduler or self.scheduler.free_count < self._active

    @property
    def responses(self) -> int:
        """How many replies have come so far."""
        return self.recorder.responses + self.excluded

    @property
    def open_connections(self) -> int:
        """How many connections are open."""
        return sum(connection.is_open for connection in self.connections)

    def start(self) -> None:
        """Let every connection ask."""
        self.running = True
        for connection in self.connections:
            connection.send_next()
        if self.scheduler:
            self.scheduler.start()

    def start_counting(self) -> Summary:
        """Count from here on; return what came before, the warm-up.

        Requests that are under way belong to it, whatever comes of them.
        """
        before = self.recorder.take()
        for connection in self.connections:
            connection.exclude_in_flight()
        self.count_paused(0)
        self._paused_ns = 0
        self.remaining = self._max_requests
        if self.scheduler:
            self.scheduler.start_counting(self._max_requests)
        return before

    def count_paused(self, more: int) -> int:
        """Count `more` connections (or fewer) that wait before they are opened again.

        Returns for how long all together have waited, in nanoseconds.
        """
        now = _clock()
        self._paused_ns += self._paused * (now - self._paused_since)
        self._paused += more
        self._paused_since = now
        return self._paused_ns

    def record_waits(self, summary: Summary, now_us: int) -> None:
        """Take note of how long what is under way has been, before it is stopped."""
        waits = [wait for each in self.connections for wait in each.waits_us(now_us)]
        summary.waits = Histogram.of([wait for wait, _ in waits])
        if self.scheduler:
            due = [wait for _, wait in waits]
            if first := self.scheduler.longest_wait_us(now_us):
                due.append(first)
            summary.due_waits = Histogram.of(due)

    def stage_for(self, due_us: int) -> StageRecorder:
        """Return where to take note of a request by when it was due."""
        after_us = self.scheduler.since_origin_us(due_us) if self.scheduler else 0
        number = bisect_right(self._stage_ends_us, after_us)
        return self._stages[min(number, len(self._stages) - 1)]

    def take_summary(self, at_s: int) -> Summary:
        """Return all that was counted since the last call, as of the second `at_s`; forget it."""
        taken = self.recorder.take(at_s)
        if self.scheduler:
            taken.started, taken.late = self.scheduler.take_counts()
        for number, notes in enumerate(self._stages):
            if notes.started or notes.service.noted:
                taken.stages[number] = notes.stats()
        return taken

    def record_stages(self, summary: Summary, now_us: int) -> None:
        """Take note of what became of each stage, before the rest of it is stopped."""
        if not (self._stages and self.scheduler):
            return
        waits: dict[StageRecorder, list[tuple[int, int]]] = {notes: [] for notes in self._stages}
        for each in self.connections:
            if each.stage:
                waits[each.stage] += each.waits_us(now_us)
        before = 0
        for number, (notes, end_s) in enumerate(
            zip(self._stages, self.plan.stage_ends_s, strict=True)
        ):
            stage = summary.stages.setdefault(number, StageStats())
            skipped = self.scheduler.skipped(now_us, end_s)
            first = [self.scheduler.longest_wait_us(now_us)] if skipped > before == 0 else []
            stage.record_waits(waits[notes], first)
            stage.skipped, before = skipped - before, skipped

    def stop(self) -> int:
        """End every connection and return how many requests are left without an outcome."""
        self.running = False
        self.remaining = 0
        unfinished = sum(connection.abort() for connection in self.connections)
        self.connector.close()
        if self.scheduler:
            self.scheduler.close()
        return unfinished

    def expire_overdue(self) -> None:
        """Fail each request that has been under way for longer than the limit.

        One pass over all connections several times a second costs less than a timer for each
        request.
        """
        oldest = _clock() // 1000 - self.limit_us
        for connection in self.connections:
            if connection.sent_at and connection.sent_at < oldest:
                connection.fail_overdue()

    def learn_response(self, reader: ResponseParser, answer: ExpectedResponse, length: int) -> None:
        """Remember a reply just read, `length` octets, to recognise the next that is like it."""
        alike = reader.keep_alive if self.keep_alive else not self.scheduler
        if not alike or answer.expectation.text:  # which is in the body, and a head is not
            return
        head = reader.recognizable_head()
        if head is not None and head != answer.head:
            if self.workload.only:
                self.recorder.recognize_as(reader.status, length)
            answer.head, answer.length, answer.status = head, length, reader.status

    def connection_done(self) -> None:
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
        "_awaits_first_byte",
        "_connected",
        "_constant_request",
        "_expected",
        "_failed_connects",
        "_is_closing",
        "_is_done",
        "_is_excluded",
        "_opened_for",
        "_pool",
        "_reader",
        "_record",
        "_record_recognized",
        "_request",
        "_starts_with",
        "_transport",
        "_write",
        "cancel_connect",
        "sent_at",
    )

    def __init__(self, pool: ConnectionPool) -> None:
        self.sent_at = 0
        self._pool = pool
        self._reader = parser_for(pool.plan)
        self._expected: ExpectedResponse = NOTHING_EXPECTED
        self._starts_with = pool.buffer.startswith
        self._constant_request = b""  # its octets, where they are always the same
        self._request = b""  # the bytes of what is asked, to be sent once a connection stands
        self._record_recognized: Callable[[int], object]  # a reply that was recognised
        if only := pool.workload.only:
            self._expected = only.expected
            self._reader.is_head_request = self._expected.is_head_request
            self._request = self._constant_request = only.request.encode(0)
            self._record_recognized = pool.recorder.service.append
        else:
            self._record_recognized = self._record_known
        self._record: Callable[[int], object] = self._record_recognized
        self._transport: SocketTransport | None = None
        self.cancel_connect: Callable[[], object] | None = (
            None  # gives up an attempt that is under way
        )
        self._connected: asyncio.Future[None] | None = None  # before the run: an attempt has ended
        self._awaits_first_byte = False  # a request is under way and no octet of its reply has come
        self._is_closing = False  # this side has closed it, and waits for connection_lost
        self._opened_for = 0  # the `asked_at` of the request it was opened for
        self._is_done = False
        self._is_excluded = False  # what is under way is not counted
        self._failed_connects = 0  # attempts to open that failed since the last that did not

    @property
    def is_open(self) -> bool:
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
        answer, begins, note, write = self._expected, self._starts_with, self._record, self._write
        if not (self._awaits_first_byte and nbytes == answer.length and begins(answer.head)):
            self._parse(nbytes)
            return
        pool = self._pool
        now = _clock() // 1000
        took = now - self.sent_at
        if took > pool.limit_us:
            self._fail_late(took)
            return
        note(took)
        if pool.remaining:
            pool.remaining -= 1
            self.sent_at = now
            write(self._constant_request or self._next_request())
        else:
            self.finish()

    def send_next(self) -> None:
        """Start a request, if one is left to start."""
        pool = self._pool
        if not pool.running:
            return
        if not pool.remaining:
            self.finish()
            return
        pool.remaining -= 1
        self.sent_at = _clock() // 1000
        if not self._constant_request:
            self._next_request()
        if self._transport is None:
            pool.connector.connect(self)
        else:
            self._send()

    async def connect(self, limit_s: float) -> None:
        """Connect without a request under way; on failure, or after `limit_s`, stay closed."""
        if not self._pool.remaining:  # the run was stopped before it began
            return
        self._connected = asyncio.get_running_loop().create_future()
        self._pool.connector.connect(self)
        try:
            async with asyncio.timeout(limit_s):
                await self._connected
        except TimeoutError:
            if self.cancel_connect:
                self.cancel_connect()

    def fail_overdue(self) -> None:
        """Fail the request under way: its time is over."""
        if self.cancel_connect:
            self.cancel_connect()
        else:
            self._fail_incomplete()

    def _fail_incomplete(self) -> None:
        if self._reader.has_begun:
            self._fail("timeout", "an incomplete response:", self._reader.first_line)
        else:
            self._fail("timeout", "no byte of a response came in time")

    def exclude_in_flight(self) -> None:
        """Leave out what comes of the request under way; without a step more for any other."""
        if self.sent_at:
            self._is_excluded = True
            self._record = self._record_excluded

    def _record_excluded(self, _took: int = 0) -> None:
        self._is_excluded = False
        self._record = self._record_recognized
        self._pool.excluded += 1

    def waits_us(self, now_us: int) -> list[tuple[int, int]]:
        """Return for each request under way that counts how long it is: from its start, and due."""
        if not self.sent_at or self._is_excluded:
            return []
        wait = now_us - self.sent_at
        return [(wait, wait)]

    @property
    def stage(self) -> StageRecorder | None:
        """The stage that the request under way is of; None without one."""
        return None

    def abort(self) -> int:
        """Close for good; return how many requests were under way that count."""
        under_way = int(self.sent_at != 0 and not self._is_excluded)
        self.sent_at = 0
        self._awaits_first_byte = False
        if self.cancel_connect:
            self.cancel_connect()
        elif self._transport is not None:
            self._transport.abort()
        return under_way

    def connection_made(self, transport: SocketTransport) -> None:
        """Take a new connection from the dialer."""
        self._transport = transport
        self._is_closing = False
        self._opened_for = self.sent_at
        self._write = transport.write
        self._failed_connects = 0
        self._reader.reset()
        self._connect_finished()
        if self.sent_at:
            self._send()

    def eof_received(self, *, orderly: bool = True) -> None:
        """Take the end of what the server sends: the transport closes after it.

        A response that lasts until then is complete only if the end is orderly.
        """
        if not self.sent_at or self._is_stale():
            return  # connection_lost comes next
        if orderly and self._reader.finish():
            self._response_complete()
        else:
            self._fail_ended()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of a connection and open the next."""
        self._transport = None
        if not self.sent_at:
            self.send_next()
        elif self._is_closing:  # what was asked meanwhile was never sent
            self._pool.connector.connect(self)
        elif self._is_stale():
            self._retry()
        else:
            begun = (
                ("within the response:", self._reader.first_line) if self._reader.has_begun else ()
            )
            self._fail("reset", exc or "the connection was reset", *begun)
            self.send_next()

    def _fail_ended(self) -> None:
        """Fail what was under way when the server ended its side."""
        ended = "the connection ended"
        if self._reader.has_begun:
            self._fail("protocol", ended, "within the response:", self._reader.first_line)
        else:
            self._fail("reset", ended, "before a byte of the response")

    def _is_stale(self) -> bool:
        """Whether a connection that ends now does so before a byte of what it was kept for."""
        return (
            self._awaits_first_byte and self.sent_at != self._opened_for and self._pool.keep_alive
        )

    def _retry(self) -> None:
        self._awaits_first_byte = False
        if self._pool.retries:
            self._pool.recorder.retried += 1
            self._pool.connector.connect(self)
        else:
            self._fail("stale", STALE, self._pool.plan.method)
            self.send_next()

    def connect_failed(self, number: int = 0, reason: str = "", said: str = "") -> None:
        """Count a connection that could not be opened, and try again after a pause."""
        self._failed_connects += 1
        self._connect_finished()
        if not self._pool.running:
            return
        reason = reason or errno.errorcode.get(number, "timeout")
        self._pool.recorder.connect_failed(reason)
        said = said or (os.strerror(number) if number else "no connection was opened in time")
        self._pool.recorder.sample("connect", reason, said)
        self._fail("connect")
        if self._transport is None:  # else it came as it was given up, and connection_lost asks
            pause = self._pool.backoff.delay(self._failed_connects)
            self._pool.count_paused(1)
            asyncio.get_running_loop().call_later(pause, self._resume_after_pause)

    def _resume_after_pause(self) -> None:
        """Ask after a pause."""
        self._pool.count_paused(-1)
        self.send_next()

    def _connect_finished(self) -> None:
        self.cancel_connect = None
        if self._connected and not self._connected.done():
            self._connected.set_result(None)

    def _send(self) -> None:
        self._awaits_first_byte = True
        self._write(self._request)

    def _next_request(self) -> bytes:
        """Take the next of several requests, and what is known of its answer.

        That is done once for each: one that is asked again, or whose connection failed to open,
        takes nobody else's turn.
        """
        self._request, self._expected = next(self._pool.workload)
        self._reader.is_head_request = self._expected.is_head_request
        return self._request

    def _record_known(self, took_us: int) -> None:
        """Count a reply that was recognised, where it is not the only one there is."""
        answer = self._expected
        self._pool.recorder.received(answer.length)
        self._pool.recorder.success(answer.status, took_us)

    def _parse(self, nbytes: int) -> None:
        if not self.sent_at:  # nothing was asked: whatever this is, it is no answer
            self._drop()
            return
        self._awaits_first_byte = False
        self._pool.recorder.received(nbytes)
        try:
            complete = self._reader.feed(self._pool.view[:nbytes])
        except ResponseError as error:
            self._fail("protocol", error, "- the response begins with", self._reader.first_line)
            return
        if complete:
            self._response_complete(nbytes)

    def _response_complete(self, length: int = 0) -> None:
        """Count a complete reply, whose last piece has `length` octets, and go on."""
        pool, reader = self._pool, self._reader
        took = _clock() // 1000 - self.sent_at
        if took > pool.limit_us:
            self._fail_late(took)
            return
        if self._is_excluded:
            self._record_excluded()
        elif kind := reader.failure_kind(self._expected.expectation):
            pool.recorder.failure(kind, reader.status, reader.describe_failure)
        else:
            pool.recorder.success(reader.status, took)
            self._record_response(took)
            pool.learn_response(reader, self._expected, length)
        if reader.status >= 300:
            self._record_redirect()
        self.sent_at = 0
        if reader.keep_alive and pool.keep_alive:
            self.send_next()
        else:
            self._close()

    def _record_response(self, took: int) -> None:
        """Take note of a success where it counts from another time than its start."""

    def _record_redirect(self) -> None:
        reader = self._reader
        if is_redirect(reader.status):
            self._pool.recorder.sample(REDIRECT, str(reader.status), reader.location)

    def _fail_late(self, took_us: int) -> None:
        self._fail("timeout", "the response was complete, but took", took_us / 1000, "ms")

    def _fail(self, kind: str, *said: object) -> None:
        """Fail the request under way, and end its connection; `said` tells why."""
        self.sent_at = 0
        if self._is_excluded:
            self._record_excluded()
        else:
            self._pool.recorder.failure(kind, 0, *said)
        self._drop()

    def _drop(self) -> None:
        self._awaits_first_byte = False
        self._is_closing = True
        if self._transport is not None:
            self._transport.abort()

    def _close(self) -> None:
        self._awaits_first_byte = False
        self._is_closing = True
        if self._transport is not None:
            self._transport.close()

    def finish(self) -> None:
        """Take note that there is nothing more to ask."""
        self.sent_at = 0
        self._close()
        if not self._is_done:
            self._is_done = True
            self._pool.connection_done()


def parser_for(plan: Plan) -> ResponseParser:
    """Return what reads the replies to what a plan asks."""
    if plan.http == "0.9":
        return Http09Parser()
    if plan.expect.text:
        return BodyMatchParser(plan.expect.text)
    return ResponseParser()
