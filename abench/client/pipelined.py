"""Connections with several requests in flight at once (RFC 9112 section 9.3.2)."""

import re
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from abench.client.connection import STALE, Connection
from abench.client.connection_pool import ConnectionPool
from abench.client.pipelined_parser import PipelinedParser
from abench.client.response_parser import ResponseError, first_line, location_in
from abench.client.socket_transport import SocketTransport
from abench.stats.group_recorder import GroupRecorder
from abench.stats.mix_recorder import MixRecorder
from abench.stats.samples import REDIRECT, is_redirect

_clock = time.perf_counter_ns


@dataclass(slots=True)
class InFlight:
    """A request, when it was first sent (in us), and which statuses are successes.

    `was_retried` tells that it was sent again already, since a reused connection was stale.
    `group` is the part of the run in which it counts, if there are several.
    """

    sent_at: int
    data: bytes
    statuses: frozenset[int]
    group: MixRecorder | None = None
    was_retried: bool = False


class Pipelined(Connection):
    """A connection that always has as many requests in flight as the plan's `pipeline`.

    `sent_at` is that of the oldest. Requests that a server leaves unanswered when it announces
    that it closes are sent again on the next connection, and timed from when they were first sent.
    So are those on a reused connection that closes before a byte of the next response, once each.
    """

    __slots__ = (
        "_depth",
        "_excluded",
        "_in_flight",
        "_retry_alone",
        "_stream_parser",
        "_waiting",
        "_was_idle",
    )

    def __init__(self, pool: ConnectionPool) -> None:
        super().__init__(pool)
        self._depth = pool.plan.pipeline
        self._in_flight: deque[InFlight] = deque()
        self._waiting: list[InFlight] = []  # to be sent on the next connection
        self._retry_alone = False  # the first retried request is sent before the others
        self._was_idle = False  # it has had a response, or was open before it was needed
        self._excluded = 0  # how many of the oldest in flight belong to the warm-up
        self._stream_parser = PipelinedParser()

    def connection_made(self, transport: SocketTransport) -> None:
        """Use a new connection that the connector has opened."""
        self._stream_parser.reset()
        self._was_idle = not self._waiting
        super().connection_made(transport)

    def buffer_updated(self, nbytes: int) -> None:
        """Handle `nbytes` of a stream of responses that the transport has read into the buffer."""
        if not self._in_flight:  # nothing was sent: whatever this is, it is no response
            self._drop()
            return
        self._pool.recorder.received(nbytes)
        try:
            statuses = self._stream_parser.feed(self._pool.view[:nbytes])
        except ResponseError as error:
            self._fail("protocol", error, partial(self._describe_received, nbytes))
            return
        if len(statuses) > len(self._in_flight):
            self._fail("protocol", "a response to no request")
            return
        for status in statuses:
            if not self._response_received(status, nbytes):
                self._fail("timeout", "the response was complete, but too late")
                return
        if self._stream_parser.is_last:
            self._reconnect()
        elif statuses:
            self._was_idle, self._retry_alone = True, False
            self.send_next()

    def send_next(self) -> None:
        """Send as many requests as may be in flight."""
        pool = self._pool
        if not pool.running:
            return
        now = _clock() // 1000
        new = [self._next_item(now) for _ in range(min(self._free_slots(), pool.remaining))]
        pool.remaining -= len(new)
        requests, self._waiting = self._waiting + new, []
        if not (requests or self._in_flight):
            self.finish()
        elif self._transport is None or self._is_closing:
            self._waiting = requests
            self.sent_at = requests[0].sent_at
            if self._transport is None:  # else connection_lost opens the next
                pool.connector.connect(self)
        else:
            self._send_all(requests)

    def _free_slots(self) -> int:
        return self._depth - len(self._in_flight) - len(self._waiting)

    def _next_item(self, now: int) -> InFlight:
        data = self._constant_request or self._next_request()
        return InFlight(now, data, self._expected.expectation.statuses, self._group)

    def _send(self) -> None:
        """Send the requests that waited for the connection.

        After a failed connection that is a single request: it may be the reason why the server
        closes connections, and the others would be lost with it again (RFC 9112 section 9.3.2, a
        MUST NOT).
        """
        count = 1 if self._retry_alone else len(self._waiting)
        requests, self._waiting = self._waiting[:count], self._waiting[count:]
        self._send_all(requests)

    def _send_all(self, requests: list[InFlight]) -> None:
        self._in_flight.extend(requests)
        self._update_sent_at()
        if requests:
            self._write(b"".join([request.data for request in requests]))

    def _response_received(self, status: int, nbytes: int = 0) -> bool:
        """Count the response to the oldest request; return whether it was in time."""
        oldest = self._in_flight[0]
        elapsed = _clock() // 1000 - oldest.sent_at
        if elapsed > self._pool.limit_us:
            return False
        self._in_flight.popleft()
        self._update_sent_at()
        if self._excluded:
            self._excluded -= 1
            self._pool.excluded += 1
        else:
            self._record_outcome(oldest, status, elapsed, nbytes)
        if status >= 300 and is_redirect(status):
            location = partial(_location_in, self._pool.view[:nbytes], status)
            self._pool.recorder.sample(REDIRECT, str(status), location)
        return True

    def _record_outcome(self, answered: InFlight, status: int, elapsed: int, nbytes: int) -> None:
        recorder = self._pool.recorder
        self._count_sent(len(answered.data))
        if status in answered.statuses:
            recorder.success(status, elapsed)
            if answered.group:
                answered.group.success(status, elapsed)
        else:
            if answered.group:
                answered.group.failure("status", status)
            status_line = partial(_status_line_in, self._pool.view[:nbytes], status)
            recorder.failure("status", status, status_line)

    def _reconnect(self) -> None:
        """Continue on a new connection, since the server has announced that it closes this one."""
        self._waiting = list(self._in_flight)
        self._in_flight.clear()
        self._update_sent_at()
        self._close()

    def _update_sent_at(self) -> None:
        self.sent_at = self._in_flight[0].sent_at if self._in_flight else 0

    def _is_stale(self) -> bool:
        """Whether a connection that closes now does so between two responses."""
        return self._was_idle and bool(self._in_flight) and not self._stream_parser.has_begun

    def _retry(self) -> None:
        """Retry unanswered requests on a new connection, but none for a third time."""
        unanswered, self._waiting = list(self._in_flight), []
        self._in_flight.clear()
        self.sent_at = 0
        failed = [request for request in unanswered if request.was_retried]
        excluded = sum(request.was_retried for request in unanswered[: self._excluded])
        self._count_failed("stale", failed, excluded, STALE, self._pool.plan.method)
        for request in unanswered:
            if not request.was_retried:
                request.was_retried = True
                self._waiting.append(request)
        self._pool.recorder.retried += len(self._waiting)
        self._retry_alone = True
        self.send_next()

    def eof_received(self, *, orderly: bool = True) -> None:
        """Handle the end of the server's data, which may end a body if it is orderly."""
        if not self._in_flight or self._is_stale():
            return  # connection_lost comes next
        if orderly and (status := self._stream_parser.finish()) and self._response_received(status):
            self._reconnect()
        else:
            self._fail_ended()

    def _describe_received(self, nbytes: int) -> bytes:
        """Return what tells most about the received bytes in which an error is."""
        if complete := self._stream_parser.complete:
            return b"- complete responses before it in the same read: %d" % complete
        return b"- the received bytes begin with " + first_line(bytes(self._pool.view[:nbytes]))

    def _fail_incomplete(self) -> None:
        self._fail("timeout", "no complete response came in time")

    def _fail_ended(self) -> None:
        """Fail the requests in flight, since the server has closed its side."""
        if self._stream_parser.has_begun:
            self._fail("protocol", "the connection closed within a response")
        else:
            self._fail("reset", "the connection closed before a byte of the response")

    def exclude_in_flight(self) -> None:
        """Exclude the requests in flight from the counts."""
        self._excluded = len(self._in_flight) + len(self._waiting)

    def waits_us(self, now_us: int) -> list[tuple[int, int]]:
        """Return (since its start, since it was due) in us for each counted request in flight."""
        counted = [*self._in_flight, *self._waiting][self._excluded :]
        return [(now_us - request.sent_at, now_us - request.sent_at) for request in counted]

    def groups_in_flight(self) -> Sequence[GroupRecorder | None]:
        """Return the group of each counted request in flight, in the order of `waits_us`."""
        counted = [*self._in_flight, *self._waiting][self._excluded :]
        return [request.group for request in counted]

    def abort(self) -> int:
        """Close for good; return how many counted requests were in flight."""
        in_flight = len(self._in_flight) + len(self._waiting) - self._excluded
        self._in_flight.clear()
        self._waiting.clear()
        super().abort()
        return in_flight

    def _fail(self, kind: str, *detail: object) -> None:
        """Count all requests in flight, or waiting for a connection, as failed."""
        failed = [*self._in_flight, *self._waiting]
        self._in_flight.clear()
        self._waiting.clear()
        self.sent_at = 0
        self._count_failed(kind, failed, min(self._excluded, len(failed)), *detail)
        self._drop()

    def _count_failed(
        self, kind: str, failed: list[InFlight], excluded: int, *detail: object
    ) -> None:
        """Count `failed` requests, of which the first `excluded` belong to the warm-up."""
        self._pool.excluded += excluded
        self._excluded -= excluded
        for request in failed[excluded:]:
            self._pool.recorder.failure(kind, 0, *detail)
            if request.group:
                request.group.failure(kind)


def _head_in(received: memoryview, status: int) -> bytes:
    """Return the received bytes from a status line with `status` on; empty if it has none yet."""
    found = re.search(rb"HTTP/1\.[01] %03d" % status, received)
    return bytes(received[found.start() :]) if found else b""


def _status_line_in(received: memoryview, status: int) -> bytes:
    return first_line(_head_in(received, status)) or b"a status of %d" % status


def _location_in(received: memoryview, status: int) -> bytes:
    return location_in(_head_in(received, status))
