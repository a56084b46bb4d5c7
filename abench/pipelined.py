"""Connections with several requests under way at once (RFC 9112 section 9.3.2)."""

import re
import time
from collections import deque
from dataclasses import dataclass
from functools import partial

import httptools

from abench.client import STALE, Connection, Pool
from abench.lines import Line
from abench.reply import ReplyError, first_line, location_in
from abench.samples import REDIRECT, is_redirect

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_clock = time.perf_counter_ns


@dataclass(slots=True)
class Asked:
    """A request, when it was first asked, and which statuses are right.

    `again` says that it was asked again already, since a kept connection was stale.
    """

    at: int
    octets: bytes
    statuses: frozenset[int]
    again: bool = False


class Pipelined(Connection):
    """A connection that always has as many requests under way as the plan's `pipeline`.

    `asked_at` is the oldest's. Requests that a server leaves unanswered when it says that it
    closes are asked again on the next connection, and timed from when they were first asked. So
    are those on a kept connection that ends before a byte of the next response, once each.
    """

    __slots__ = ("_alone", "_depth", "_disregarded", "_kept", "_stream", "_under_way", "_waiting")

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self._depth = pool.plan.pipeline
        self._under_way: deque[Asked] = deque()
        self._waiting: list[Asked] = []  # for the next connection
        self._alone = False  # the first of those to be asked again is sent before the others
        self._kept = False  # the connection has been of use, or was open before it was needed
        self._disregarded = 0  # of the oldest under way, how many belong to the warm-up
        self._stream = ReplyStream()

    def connection_made(self, transport: Line) -> None:
        """Take a new connection from the dialer."""
        self._stream = ReplyStream()
        self._kept = not self._waiting
        super().connection_made(transport)

    def buffer_updated(self, nbytes: int) -> None:
        """Take a piece of a stream of replies."""
        if not self._under_way:  # nothing was asked: whatever this is, it is no answer
            self._drop()
            return
        self._pool.recorder.received(nbytes)
        try:
            replies = self._stream.feed(self._pool.view[:nbytes])
        except ReplyError as error:
            self._fail("protocol", error, partial(self._describe_piece, nbytes))
            return
        if len(replies) > len(self._under_way):
            self._fail("protocol", "a response to no request")
            return
        for status in replies:
            if not self._answered(status, nbytes):
                self._fail("timeout", "the response was complete, but too late")
                return
        if self._stream.closes:
            self._leave()
        elif replies:
            self._kept, self._alone = True, False
            self.ask()

    def ask(self) -> None:
        """Have as many requests under way as there may be."""
        pool = self._pool
        if not pool.running:
            return
        now = _clock() // 1000
        new = [self._next(now) for _ in range(min(self._missing(), pool.left))]
        pool.left -= len(new)
        asked, self._waiting = self._waiting + new, []
        if not (asked or self._under_way):
            self.retire()
        elif self._transport is None or self._leaving:
            self._waiting = asked
            self.asked_at = asked[0].at
            if self._transport is None:  # else connection_lost opens the next
                pool.dialer.dial(self)
        else:
            self._send_all(asked)

    def _missing(self) -> int:
        return self._depth - len(self._under_way) - len(self._waiting)

    def _next(self, now: int) -> Asked:
        octets = self._constant or self._turn()
        return Asked(now, octets, self._answer.expectation.statuses)

    def _send(self) -> None:
        """Send what waited for the connection.

        After one that failed that is a single request: it may be what the server ends connections
        for, and the others would be lost with it again (RFC 9112 section 9.3.2, a MUST NOT).
        """
        at_once = 1 if self._alone else len(self._waiting)
        asked, self._waiting = self._waiting[:at_once], self._waiting[at_once:]
        self._send_all(asked)

    def _send_all(self, asked: list[Asked]) -> None:
        self._under_way.extend(asked)
        self._note_oldest()
        if asked:
            self._write(b"".join([one.octets for one in asked]))

    def _answered(self, status: int, nbytes: int = 0) -> bool:
        """Count the oldest request's reply; return whether it came in time."""
        oldest = self._under_way[0]
        took = _clock() // 1000 - oldest.at
        if took > self._pool.limit_us:
            return False
        self._under_way.popleft()
        self._note_oldest()
        if self._disregarded:
            self._disregarded -= 1
            self._pool.warmed += 1
        elif status in oldest.statuses:
            self._pool.recorder.success(status, took)
        else:
            piece = self._pool.view[:nbytes]
            self._pool.recorder.failure("status", status, partial(_status_line_in, piece, status))
        if status >= 300 and is_redirect(status):
            location = partial(_location_in, self._pool.view[:nbytes], status)
            self._pool.recorder.sample(REDIRECT, str(status), location)
        return True

    def _leave(self) -> None:
        """Go on with a new connection, since the server has said that it ends this one."""
        self._waiting = list(self._under_way)
        self._under_way.clear()
        self._note_oldest()
        self._close()

    def _note_oldest(self) -> None:
        self.asked_at = self._under_way[0].at if self._under_way else 0

    def _is_stale(self) -> bool:
        """Whether a connection that ends now does so between two responses."""
        return self._kept and bool(self._under_way) and not self._stream.begun

    def _ask_again(self) -> None:
        """Ask on a new connection what this one has not answered, but nothing for a third time."""
        ended, self._waiting = list(self._under_way), []
        self._under_way.clear()
        self.asked_at = 0
        given_up = [one.again for one in ended]
        left_out = sum(given_up[: self._disregarded])
        self._count_failed("stale", sum(given_up), left_out, STALE, self._pool.plan.method)
        for one in ended:
            if not one.again:
                one.again = True
                self._waiting.append(one)
        self._pool.recorder.retried += len(self._waiting)
        self._alone = True
        self.ask()

    def eof_received(self, *, orderly: bool = True) -> None:
        """Take the end of what the server sends; a body may end with it, if it is orderly."""
        if not self._under_way or self._is_stale():
            return  # connection_lost comes next
        if orderly and (status := self._stream.finish()) and self._answered(status):
            self._leave()
        else:
            self._fail_ended()

    def _describe_piece(self, nbytes: int) -> bytes:
        """Return what tells most about the piece in which an error is."""
        if complete := self._stream.complete:
            return b"- complete responses before it in one piece: %d" % complete
        return b"- what came begins with " + first_line(bytes(self._pool.view[:nbytes]))

    def _fail_incomplete(self) -> None:
        self._fail("timeout", "no complete response came in time")

    def _fail_ended(self) -> None:
        """Fail what was under way when the server ended its side."""
        if self._stream.begun:
            self._fail("protocol", "the connection ended within a response")
        else:
            self._fail("reset", "the connection ended before a byte of the response")

    def disregard(self) -> None:
        """Leave out what comes of the requests under way."""
        self._disregarded = len(self._under_way) + len(self._waiting)

    def waits_us(self, now_us: int) -> list[tuple[int, int]]:
        """Return for each request under way that counts how long it is: from its start, and due."""
        asked = [*self._under_way, *self._waiting][self._disregarded :]
        return [(now_us - one.at, now_us - one.at) for one in asked]

    def abandon(self) -> int:
        """Close for good; return how many requests were under way that count."""
        under_way = len(self._under_way) + len(self._waiting) - self._disregarded
        self._under_way.clear()
        self._waiting.clear()
        super().abandon()
        return under_way

    def _fail(self, kind: str, *said: object) -> None:
        """Count all that is under way or waits for a connection as failed."""
        failed = len(self._under_way) + len(self._waiting)
        self._under_way.clear()
        self._waiting.clear()
        self.asked_at = 0
        self._count_failed(kind, failed, min(self._disregarded, failed), *said)
        self._drop()

    def _count_failed(self, kind: str, failed: int, left_out: int, *said: object) -> None:
        """Count requests that failed, of which some belong to the warm-up."""
        self._pool.warmed += left_out
        self._disregarded -= left_out
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


class ReplyStream:
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
        self._headed = self._framed = False
        self.begun = False
        self.closes = False

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
            if not self.closes:  # what comes after the last reply is nobody's
                raise ReplyError(str(error)) from None
        return self._statuses

    def finish(self) -> int:
        """Return the status of the reply that the end of the connection completes, or 0."""
        # Without a length and not chunked, a body lasts until the end (RFC 9112 section 6.3).
        return self._parser.get_status_code() if self._headed and not self._framed else 0

    def on_message_begin(self) -> None:
        """Note, for the parser, that a reply begins."""
        self.begun = True
        self._framed = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note, for the parser, a header that says how long the body is.

        NUL has to be refused (RFC 9110 section 5.5): by its number, since to look for it as bytes
        takes five times as long.
        """
        if 0 in value:
            raise ReplyError("NUL in a header")
        if not self._framed and name.lower() in _FRAMING:
            self._framed = True

    def on_headers_complete(self) -> None:
        """Note, for the parser, that a head is complete; 1xx is none (RFC 9110 section 15.2)."""
        self._headed = self._parser.get_status_code() >= 200

    def on_message_complete(self) -> None:
        """Note, for the parser, that a reply is complete."""
        self.begun = False
        if self._headed:
            self._headed = False
            self._statuses.append(self._parser.get_status_code())
            self.closes = not self._parser.should_keep_alive()
