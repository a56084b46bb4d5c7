"""Connections with several requests under way at once (RFC 9112 section 9.3.2)."""

import re
import time
from collections import deque
from dataclasses import dataclass
from functools import partial

import httptools

from abench.client.connection import STALE, Connection, ConnectionPool
from abench.client.response_parser import ResponseError, first_line, location_in
from abench.client.socket_transport import SocketTransport
from abench.stats.samples import REDIRECT, is_redirect

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_clock = time.perf_counter_ns


@dataclass(slots=True)
class InFlight:
    """A request, when it was first asked, and which statuses are right.

    `again` says that it was asked again already, since a kept connection was stale.
    """

    sent_at: int
    octets: bytes
    statuses: frozenset[int]
    was_retried: bool = False


class Pipelined(Connection):
    """A connection that always has as many requests under way as the plan's `pipeline`.

    `asked_at` is the oldest's. Requests that a server leaves unanswered when it says that it
    closes are asked again on the next connection, and timed from when they were first asked. So
    are those on a kept connection that ends before a byte of the next response, once each.
    """

    __slots__ = (
        "_alone",
        "_depth",
        "_excluded",
        "_in_flight",
        "_parser",
        "_waiting",
        "_was_idle",
    )

    def __init__(self, pool: ConnectionPool) -> None:
        super().__init__(pool)
        self._depth = pool.plan.pipeline
        self._in_flight: deque[InFlight] = deque()
        self._waiting: list[InFlight] = []  # for the next connection
        self._alone = False  # the first of those to be asked again is sent before the others
        self._was_idle = False  # the connection has been of use, or was open before it was needed
        self._excluded = 0  # of the oldest under way, how many belong to the warm-up
        self._parser = PipelinedParser()

    def connection_made(self, transport: SocketTransport) -> None:
        """Take a new connection from the dialer."""
        self._parser = PipelinedParser()
        self._was_idle = not self._waiting
        super().connection_made(transport)

    def buffer_updated(self, nbytes: int) -> None:
        """Take a piece of a stream of replies."""
        if not self._in_flight:  # nothing was asked: whatever this is, it is no answer
            self._drop()
            return
        self._pool.recorder.received(nbytes)
        try:
            replies = self._parser.feed(self._pool.view[:nbytes])
        except ResponseError as error:
            self._fail("protocol", error, partial(self._describe_piece, nbytes))
            return
        if len(replies) > len(self._in_flight):
            self._fail("protocol", "a response to no request")
            return
        for status in replies:
            if not self._response_received(status, nbytes):
                self._fail("timeout", "the response was complete, but too late")
                return
        if self._parser.is_last:
            self._reconnect()
        elif replies:
            self._was_idle, self._alone = True, False
            self.send_next()

    def send_next(self) -> None:
        """Have as many requests under way as there may be."""
        pool = self._pool
        if not pool.running:
            return
        now = _clock() // 1000
        new = [self._next_item(now) for _ in range(min(self._free_slots(), pool.remaining))]
        pool.remaining -= len(new)
        asked, self._waiting = self._waiting + new, []
        if not (asked or self._in_flight):
            self.finish()
        elif self._transport is None or self._is_closing:
            self._waiting = asked
            self.sent_at = asked[0].sent_at
            if self._transport is None:  # else connection_lost opens the next
                pool.connector.connect(self)
        else:
            self._send_all(asked)

    def _free_slots(self) -> int:
        return self._depth - len(self._in_flight) - len(self._waiting)

    def _next_item(self, now: int) -> InFlight:
        octets = self._constant_request or self._next_request()
        return InFlight(now, octets, self._expected.expectation.statuses)

    def _send(self) -> None:
        """Send what waited for the connection.

        After one that failed that is a single request: it may be what the server ends connections
        for, and the others would be lost with it again (RFC 9112 section 9.3.2, a MUST NOT).
        """
        at_once = 1 if self._alone else len(self._waiting)
        asked, self._waiting = self._waiting[:at_once], self._waiting[at_once:]
        self._send_all(asked)

    def _send_all(self, asked: list[InFlight]) -> None:
        self._in_flight.extend(asked)
        self._update_sent_at()
        if asked:
            self._write(b"".join([one.octets for one in asked]))

    def _response_received(self, status: int, nbytes: int = 0) -> bool:
        """Count the oldest request's reply; return whether it came in time."""
        oldest = self._in_flight[0]
        took = _clock() // 1000 - oldest.sent_at
        if took > self._pool.limit_us:
            return False
        self._in_flight.popleft()
        self._update_sent_at()
        if self._excluded:
            self._excluded -= 1
            self._pool.excluded += 1
        elif status in oldest.statuses:
            self._pool.recorder.success(status, took)
        else:
            piece = self._pool.view[:nbytes]
            self._pool.recorder.failure("status", status, partial(_status_line_in, piece, status))
        if status >= 300 and is_redirect(status):
            location = partial(_location_in, self._pool.view[:nbytes], status)
            self._pool.recorder.sample(REDIRECT, str(status), location)
        return True

    def _reconnect(self) -> None:
        """Go on with a new connection, since the server has said that it ends this one."""
        self._waiting = list(self._in_flight)
        self._in_flight.clear()
        self._update_sent_at()
        self._close()

    def _update_sent_at(self) -> None:
        self.sent_at = self._in_flight[0].sent_at if self._in_flight else 0

    def _is_stale(self) -> bool:
        """Whether a connection that ends now does so between two responses."""
        return self._was_idle and bool(self._in_flight) and not self._parser.has_begun

    def _retry(self) -> None:
        """Ask on a new connection what this one has not answered, but nothing for a third time."""
        ended, self._waiting = list(self._in_flight), []
        self._in_flight.clear()
        self.sent_at = 0
        given_up = [one.was_retried for one in ended]
        left_out = sum(given_up[: self._excluded])
        self._count_failed("stale", sum(given_up), left_out, STALE, self._pool.plan.method)
        for one in ended:
            if not one.was_retried:
                one.was_retried = True
                self._waiting.append(one)
        self._pool.recorder.retried += len(self._waiting)
        self._alone = True
        self.send_next()

    def eof_received(self, *, orderly: bool = True) -> None:
        """Take the end of what the server sends; a body may end with it, if it is orderly."""
        if not self._in_flight or self._is_stale():
            return  # connection_lost comes next
        if orderly and (status := self._parser.finish()) and self._response_received(status):
            self._reconnect()
        else:
            self._fail_ended()

    def _describe_piece(self, nbytes: int) -> bytes:
        """Return what tells most about the piece in which an error is."""
        if complete := self._parser.complete:
            return b"- complete responses before it in one piece: %d" % complete
        return b"- what came begins with " + first_line(bytes(self._pool.view[:nbytes]))

    def _fail_incomplete(self) -> None:
        self._fail("timeout", "no complete response came in time")

    def _fail_ended(self) -> None:
        """Fail what was under way when the server ended its side."""
        if self._parser.has_begun:
            self._fail("protocol", "the connection ended within a response")
        else:
            self._fail("reset", "the connection ended before a byte of the response")

    def exclude_in_flight(self) -> None:
        """Leave out what comes of the requests under way."""
        self._excluded = len(self._in_flight) + len(self._waiting)

    def waits_us(self, now_us: int) -> list[tuple[int, int]]:
        """Return for each request under way that counts how long it is: from its start, and due."""
        asked = [*self._in_flight, *self._waiting][self._excluded :]
        return [(now_us - one.sent_at, now_us - one.sent_at) for one in asked]

    def abort(self) -> int:
        """Close for good; return how many requests were under way that count."""
        under_way = len(self._in_flight) + len(self._waiting) - self._excluded
        self._in_flight.clear()
        self._waiting.clear()
        super().abort()
        return under_way

    def _fail(self, kind: str, *said: object) -> None:
        """Count all that is under way or waits for a connection as failed."""
        failed = len(self._in_flight) + len(self._waiting)
        self._in_flight.clear()
        self._waiting.clear()
        self.sent_at = 0
        self._count_failed(kind, failed, min(self._excluded, failed), *said)
        self._drop()

    def _count_failed(self, kind: str, failed: int, left_out: int, *said: object) -> None:
        """Count requests that failed, of which some belong to the warm-up."""
        self._pool.excluded += left_out
        self._excluded -= left_out
        for _ in range(failed - left_out):
            self._pool.recorder.failure(kind, 0, *said)


def _head_in(piece: memoryview, status: int) -> bytes:
    """Return from where in a piece of a stream a status line has `status`: it may come later."""
    found = re.search(rb"HTTP/1\.[01] %03d" % status, piece)
    return bytes(piece[found.start() :]) if found else b""


def _status_line_in(piece: memoryview, status: int) -> bytes:
    return first_line(_head_in(piece, status)) or b"a status of %d" % status


def _location_in(piece: memoryview, status: int) -> bytes:
    return location_in(_head_in(piece, status))


class PipelinedParser:
    """The replies on a connection as one parser reads them: their statuses, in order.

    `closes` says that the last of them is the last there will be, `begun` that a piece of another
    has arrived.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        # Folded values and lines that LF ends, as ReplyReader takes them; the rest it repairs is
        # refused here, since no bytes are kept. What comes with folds is taken too, but for NUL.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True
        )
        self._statuses: list[int] = []
        self._has_head = self._has_framing = False
        self.has_begun = False
        self.is_last = False

    @property
    def complete(self) -> int:
        """How many responses the last piece has completed."""
        return len(self._statuses)

    def feed(self, data: bytes | memoryview) -> list[int]:
        """Take the next octets; return the statuses of the replies that they complete.

        Raises ReplyError for what is no HTTP/1.x reply.
        """
        self._statuses = []
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.is_last:  # what comes after the last reply is nobody's
                raise ResponseError(str(error)) from None
        return self._statuses

    def finish(self) -> int:
        """Return the status of the reply that the end of the connection completes, or 0."""
        # Without a length and not chunked, a body lasts until the end (RFC 9112 section 6.3).
        return self._parser.get_status_code() if self._has_head and not self._has_framing else 0

    def on_message_begin(self) -> None:
        """Note, for the parser, that a reply begins."""
        self.has_begun = True
        self._has_framing = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note, for the parser, a header that says how long the body is.

        NUL has to be refused (RFC 9110 section 5.5): by its number, since to look for it as bytes
        takes five times as long.
        """
        if 0 in value:
            raise ResponseError("NUL in a header")
        if not self._has_framing and name.lower() in _FRAMING:
            self._has_framing = True

    def on_headers_complete(self) -> None:
        """Note, for the parser, that a head is complete; 1xx is none (RFC 9110 section 15.2)."""
        self._has_head = self._parser.get_status_code() >= 200

    def on_message_complete(self) -> None:
        """Note, for the parser, that a reply is complete."""
        self.has_begun = False
        if self._has_head:
            self._has_head = False
            self._statuses.append(self._parser.get_status_code())
            self.is_last = not self._parser.should_keep_alive()
