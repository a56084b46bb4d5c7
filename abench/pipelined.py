"""Connections with several requests under way at once (RFC 9112 section 9.3.2)."""

import time
from collections import deque

import httptools

from abench.client import Connection, Pool
from abench.lines import Line
from abench.reply import ReplyError

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_clock = time.perf_counter_ns


class Pipelined(Connection):
    """A connection that always has as many requests under way as the plan's `pipeline`.

    `asked_at` is the oldest's. Requests that a server leaves unanswered when it says that it
    closes are asked again on the next connection, and timed from when they were first asked.
    """

    __slots__ = ("_depth", "_disregarded", "_stream", "_under_way", "_waiting")

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self._depth = pool.plan.pipeline
        self._under_way: deque[tuple[int, frozenset[int]]] = deque()
        self._waiting: list[int] = []  # when those to be asked again were first asked
        self._disregarded = 0  # of the oldest under way, how many belong to the warm-up
        self._stream = ReplyStream()

    def connection_made(self, transport: Line) -> None:
        """Take a new connection from the dialer."""
        self._stream = ReplyStream()
        super().connection_made(transport)

    def buffer_updated(self, nbytes: int) -> None:
        """Take a piece of a stream of replies."""
        if not self._under_way:  # nothing was asked: whatever this is, it is no answer
            self._drop()
            return
        self._pool.recorder.received(nbytes)
        try:
            replies = self._stream.feed(self._pool.view[:nbytes])
        except ReplyError:
            self._fail("protocol")
            return
        if len(replies) > len(self._under_way):
            self._fail("protocol")
            return
        for status in replies:
            if not self._answered(status):
                self._fail("timeout")
                return
        if self._stream.closes:
            self._leave()
        elif replies:
            self.ask()

    def ask(self) -> None:
        """Have as many requests under way as there may be."""
        pool = self._pool
        if not pool.running:
            return
        now = _clock() // 1000
        asked = self._waiting + [now] * min(self._missing(), pool.left)
        pool.left -= len(asked) - len(self._waiting)
        self._waiting = []
        if not (asked or self._under_way):
            self.retire()
        elif self._transport is None or self._leaving:
            self._waiting = asked
            self.asked_at = asked[0]
            if self._transport is None:  # else connection_lost opens the next
                pool.dialer.dial(self)
        else:
            self._send_all(asked)

    def _missing(self) -> int:
        return self._depth - len(self._under_way) - len(self._waiting)

    def _send(self) -> None:
        """Send what waited for the connection."""
        asked, self._waiting = self._waiting, []
        self._send_all(asked)

    def _send_all(self, asked: list[int]) -> None:
        octets = []
        for at in asked:
            octets.append(self._constant or self._turn())
            self._under_way.append((at, self._answer.expectation.statuses))
        self._note_oldest()
        if octets:
            self._write(b"".join(octets))

    def _answered(self, status: int) -> bool:
        """Count the oldest request's reply; return whether it came in time."""
        at, statuses = self._under_way[0]
        took = _clock() // 1000 - at
        if took > self._pool.limit_us:
            return False
        self._under_way.popleft()
        self._note_oldest()
        if self._disregarded:
            self._disregarded -= 1
            self._pool.warmed += 1
        elif status in statuses:
            self._pool.recorder.success(status, took)
        else:
            self._pool.recorder.failure("status", status)
        return True

    def _leave(self) -> None:
        """Go on with a new connection, since the server has said that it ends this one."""
        self._waiting = [at for at, _ in self._under_way]
        self._under_way.clear()
        self._note_oldest()
        self._close()

    def _note_oldest(self) -> None:
        self.asked_at = self._under_way[0][0] if self._under_way else 0

    def eof_received(self, *, orderly: bool = True) -> None:
        """Take the end of what the server sends; a body may end with it, if it is orderly."""
        if not self._under_way:
            return
        if orderly and (status := self._stream.finish()) and self._answered(status):
            self._leave()
        else:
            self._fail("protocol" if self._stream.begun else "reset")

    def disregard(self) -> None:
        """Leave out what comes of the requests under way."""
        self._disregarded = len(self._under_way) + len(self._waiting)

    def waits_us(self, now_us: int) -> list[tuple[int, int]]:
        """Return for each request under way that counts how long it is: from its start, and due."""
        asked = [*(at for at, _ in self._under_way), *self._waiting]
        return [(now_us - at, now_us - at) for at in asked[self._disregarded :]]

    def abandon(self) -> int:
        """Close for good; return how many requests were under way that count."""
        under_way = len(self._under_way) + len(self._waiting) - self._disregarded
        self._under_way.clear()
        self._waiting.clear()
        super().abandon()
        return under_way

    def _fail(self, kind: str) -> None:
        """Count all that is under way or waits for a connection as failed."""
        failed = len(self._under_way) + len(self._waiting)
        self._under_way.clear()
        self._waiting.clear()
        self.asked_at = 0
        left_out = min(self._disregarded, failed)
        self._pool.warmed += left_out
        self._disregarded = 0
        for _ in range(failed - left_out):
            self._pool.recorder.failure(kind)
        self._drop()


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
