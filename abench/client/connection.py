"""One connection: sends, takes the time, reads the response, sends again."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from abench.client.connection_pool import ConnectionPool
from abench.client.parser_variants import parser_for
from abench.client.reopened_connection import ReopenedConnection
from abench.client.response_parser import ResponseError
from abench.client.socket_transport import SocketTransport
from abench.plan.workload import NOTHING_EXPECTED, ExpectedResponse
from abench.stats.group_recorder import GroupRecorder
from abench.stats.outcomes import OutcomeRecorder
from abench.stats.samples import REDIRECT, is_redirect
from abench.stats.stages import StageRecorder

if TYPE_CHECKING:
    from abench.stats.mix_recorder import MixRecorder

_clock = time.perf_counter_ns

Record = Callable[[int], object]
"""Counts a response that took so many microseconds."""

STALE = "a reused connection closed before a byte of the response to"  # and the method


class Connection(ReopenedConnection):
    """One connection to the server, with at most one request in flight.

    A lost connection is reopened only from `connection_lost`, so that late events of one transport
    never reach the next.

    A reused connection that closes before a byte of the response was stale: the server may have
    closed it before it saw the request. The request is retried on a new connection if its method
    is idempotent (RFC 9112 section 9.3.1), and is timed from when it was first sent. It is retried
    once: a request on a connection that was opened for it is not sent again.
    """

    __slots__ = (
        "_append_service",
        "_constant_request",
        "_expected",
        "_first_byte_us",
        "_group",
        "_is_done",
        "_is_excluded",
        "_opened_for",
        "_parser",
        "_record",
        "_record_recognized",
        "_request",
        "_response_size",
        "_starts_with",
        "_write",
    )

    def __init__(self, pool: ConnectionPool) -> None:
        super().__init__(pool)
        self._parser = parser_for(pool.plan)
        self._expected: ExpectedResponse = NOTHING_EXPECTED
        self._group: MixRecorder | None = None  # of the request in flight, if there are several
        self._response_size = 0  # bytes of a response that is being parsed
        self._starts_with = pool.buffer.startswith
        self._constant_request = b""  # its bytes, if they are always the same
        self._request = b""  # its bytes, to be sent once the connection is open
        self._append_service = pool.recorder.service.append
        self._record_recognized: Record  # counts a recognized response
        if only := pool.workload.only:
            self._expected = only.expected
            self._parser.is_head_request = self._expected.is_head_request
            self._request = self._constant_request = only.request.encode(0)
            self._record_recognized = self._append_service
        else:
            self._record_recognized = self._record_expected
        self._record: Record = self._record_recognized
        self._first_byte_us = 0  # the first read of a response that takes several; 0 without one
        self._opened_for = 0  # the `sent_at` of the request it was opened for
        self._is_done = False
        self._is_excluded = False  # the request in flight is not counted

    # The hot path. A response with the head and the length of the last one that was parsed is
    # complete, and the end of this request is the start of the next: one clock, one comparison,
    # one append. Everything else goes to the parser. The Date header changes once a second, which
    # costs one parsed response. All connections read into one buffer, which stays in the CPU's
    # cache: a buffer per response takes a twentieth more. Callables are looked up into locals
    # first: calling an attribute that is a slot takes 15 ns more each time (Python 3.11).

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio names it
        """Return the buffer that the transport is to read into."""
        return self._pool.view

    def buffer_updated(self, nbytes: int) -> None:
        """Handle `nbytes` that the transport has read into the buffer."""
        expected, starts_with = self._expected, self._starts_with
        record, write = self._record, self._write
        if not (
            self._awaits_first_byte and nbytes == expected.length and starts_with(expected.head)
        ):
            self._parse(nbytes)
            return
        pool = self._pool
        now = _clock() // 1000
        elapsed = now - self.sent_at
        if elapsed > pool.limit_us:
            self._fail_late(elapsed)
            return
        record(elapsed)
        if pool.remaining:
            pool.remaining -= 1
            self.sent_at = now
            write(self._constant_request or self._next_request())
        else:
            self.finish()

    def send_next(self) -> None:
        """Start a request, if one remains."""
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

    def fail_overdue(self) -> None:
        """Fail the request in flight: its time is up."""
        if self.cancel_connect:
            self.cancel_connect()
        else:
            self._fail_incomplete()

    def _fail_incomplete(self) -> None:
        if self._parser.has_begun:
            self._fail("timeout", "an incomplete response:", self._parser.first_line)
        else:
            self._fail("timeout", "no byte of a response came in time")

    def exclude_in_flight(self) -> None:
        """Exclude the request in flight from the counts, at no cost for any other."""
        if self.sent_at:
            self._is_excluded = True
            self._record = self._record_excluded

    def _record_excluded(self, _elapsed: int = 0) -> None:
        self._is_excluded = False
        self._record = self._record_recognized
        self._pool.excluded += 1

    def waits_us(self, now_us: int) -> list[tuple[int, int]]:
        """Return (since its start, since it was due) in us for each counted request in flight."""
        if not self.sent_at or self._is_excluded:
            return []
        wait = now_us - self.sent_at
        return [(wait, wait)]

    @property
    def stage(self) -> StageRecorder | None:
        """The stage of the request in flight; None without one."""
        return None

    def groups_in_flight(self) -> Sequence[GroupRecorder | None]:
        """Return the group of each counted request in flight, in the order of `waits_us`."""
        return [self._group]

    def abort(self) -> int:
        """Close for good; return how many counted requests were in flight."""
        in_flight = int(self.sent_at != 0 and not self._is_excluded)
        self.sent_at = 0
        self._awaits_first_byte = False
        if self.cancel_connect:
            self.cancel_connect()
        elif self._transport is not None:
            self._transport.abort()
        return in_flight

    def connection_made(self, transport: SocketTransport) -> None:
        """Use a new connection that the connector has opened."""
        self._transport = transport
        self._is_closing = False
        self._opened_for = self.sent_at
        self._write = transport.write
        self._failed_connects = 0
        self._parser.reset()
        self._connect_finished()
        if self.sent_at:
            self._send()

    def eof_received(self, *, orderly: bool = True) -> None:
        """Handle the end of the server's data: the transport closes after it.

        A response that lasts until the connection closes is complete only if the end is orderly.
        """
        if not self.sent_at or self._is_stale():
            return  # connection_lost comes next
        if orderly and self._parser.finish():
            self._response_complete()
        else:
            self._fail_ended()

    def connection_lost(self, exc: Exception | None) -> None:
        """Handle the end of a connection, and open the next."""
        self._transport = None
        if not self.sent_at:
            self.send_next()
        elif self._is_closing:  # the next request was not sent yet
            self._pool.connector.connect(self)
        elif self._is_stale():
            self._retry()
        else:
            parser = self._parser
            detail = ("within the response:", parser.first_line) if parser.has_begun else ()
            self._fail("reset", exc or "the connection was reset", *detail)
            self.send_next()

    def _fail_ended(self) -> None:
        """Fail the request in flight, since the server has closed its side."""
        closed = "the connection closed"
        if self._parser.has_begun:
            self._fail("protocol", closed, "within the response:", self._parser.first_line)
        else:
            self._fail("reset", closed, "before a byte of the response")

    def _is_stale(self) -> bool:
        """Whether a reused connection that closes now does so before a byte of the response."""
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

    def _send(self) -> None:
        self._awaits_first_byte = True
        self._write(self._request)

    def _next_request(self) -> bytes:
        """Take the next of several requests, and its expected response.

        This is done once per request: a retried request, or one whose connection failed to open,
        does not take the turn of another.
        """
        pool = self._pool
        self._request, self._expected = request, expected = next(pool.workload)
        self._group = pool.groups[expected.group]
        self._parser.is_head_request = expected.is_head_request
        return request

    def _record_expected(self, elapsed_us: int) -> None:
        """Count a recognized response, if not all requests have the same bytes."""
        expected, group = self._expected, self._group
        if group and group.expected is expected:
            self._append_service(elapsed_us)
            group.append(elapsed_us)
            return
        recorder = self._pool.recorder
        recorder.sent(len(self._request))
        if group:
            recorder.recognized(expected.status, expected.length, elapsed_us)
            group.recognized(expected.status, expected.length, elapsed_us)
        else:
            self._append_service(elapsed_us)

    @property
    def _parts(self) -> tuple[OutcomeRecorder, ...]:
        """The parts of the run in which the request in flight counts as well."""
        return (self._group,) if self._group else ()

    def _parse(self, nbytes: int) -> None:
        if not self.sent_at:  # nothing was sent: whatever this is, it is no response
            self._drop()
            return
        if is_first := self._awaits_first_byte:
            self._awaits_first_byte = False
            self._first_byte_us = self._response_size = 0
        self._response_size += nbytes
        self._pool.recorder.received(nbytes)
        try:
            complete = self._parser.feed(self._pool.view[:nbytes])
        except ResponseError as error:
            self._fail("protocol", error, "- the response begins with", self._parser.first_line)
            return
        if complete:
            self._response_complete(nbytes)
        elif is_first:
            self._first_byte_us = _clock() // 1000

    def _response_complete(self, length: int = 0) -> None:
        """Count a complete response, whose last read had `length` bytes, and send the next."""
        pool, parser = self._pool, self._parser
        elapsed = _clock() // 1000 - self.sent_at
        if elapsed > pool.limit_us:
            self._fail_late(elapsed)
            return
        if self._is_excluded:
            self._record_excluded()
        else:
            self._record_parsed(elapsed, length)
        if parser.status >= 300:
            self._record_redirect()
        self.sent_at = 0
        if parser.keep_alive and pool.keep_alive:
            self.send_next()
        else:
            self._close()

    def _record_parsed(self, elapsed: int, length: int) -> None:
        """Count a response that was parsed, and whose last read had `length` bytes."""
        pool, parser = self._pool, self._parser
        self._count_sent(len(self._request))
        status, size = parser.status, self._response_size
        for part in self._parts:
            part.received(size)
        if kind := parser.failure_kind(self._expected.expectation):
            pool.recorder.failure(kind, status, parser.describe_failure)
            for part in self._parts:
                part.failure(kind, status)
        else:
            for recorder in (pool.recorder, *self._parts):
                recorder.success(status, elapsed, size)
            self._record_response(elapsed)
            self._record_phases(self.sent_at + elapsed)
            pool.learn_response(parser, self._expected, length)

    def _count_sent(self, size: int) -> None:
        """Count the bytes of a request that was answered, unless the recorder knows them."""
        if not self._constant_request:
            self._pool.recorder.sent(size)

    def _record_response(self, elapsed: int) -> None:
        """Record a success that is timed from another moment than its start."""

    def _record_phases(self, ended_us: int) -> None:
        """Record the parts of a success that was parsed: where it took more than one read."""
        phases, sent_us = self._pool.recorder.phases, max(self.sent_at, self._opened_at_us)
        if not self._pool.keep_alive:
            phases.request.append(ended_us - sent_us)
        if self._first_byte_us:
            phases.first_byte.append(self._first_byte_us - sent_us)
            phases.transfer.append(ended_us - self._first_byte_us)

    def _record_redirect(self) -> None:
        parser = self._parser
        if is_redirect(parser.status):
            self._pool.recorder.sample(REDIRECT, str(parser.status), parser.location)

    def _fail_late(self, elapsed_us: int) -> None:
        self._fail("timeout", "the response was complete, but took", elapsed_us / 1000, "ms")

    def _fail(self, kind: str, *detail: object) -> None:
        """Fail the request in flight, and abort its connection; `detail` is the message."""
        self.sent_at = 0
        if self._is_excluded:
            self._record_excluded()
        else:
            self._pool.recorder.failure(kind, 0, *detail)
            for part in self._parts:
                part.failure(kind)
        self._drop()

    def finish(self) -> None:
        """Note that there is nothing more to send, and close."""
        self.sent_at = 0
        self._close()
        if not self._is_done:
            self._is_done = True
            self._pool.connection_done()
