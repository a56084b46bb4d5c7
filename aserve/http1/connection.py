"""One connection's conversation, without I/O: pipelining, persistence, content, when it ends."""

import re

from aserve.http.messages import BodyPart, HttpError, Request, Response, encode_head
from aserve.http1 import head_parser
from aserve.http1.body_reader import BodyReader, ChunkedReader, LengthReader
from aserve.http1.limits import Limits
from aserve.http1.states import TRANSITIONS, Event, State

_HEAD_END = b"\r\n\r\n"
_NOTHING_YET = frozenset({b"", b"\r"})
_EMPTY_LINES = re.compile(rb"(?:\r\n)*")


class H1Connection:
    """Octets in, Requests out; Responses in, pieces out.

    One request is out at a time: pipelined ones wait in the input, so answers keep their order
    and nothing but the input needs a bound (backlog). How the input is cut into pieces makes no
    difference to what comes out.
    """

    __slots__ = (
        "_body_reader",
        "_bytes_checked",
        "_eof_received",
        "_has_unread_input",
        "_input",
        "_is_closing",
        "_keep_alive",
        "_limits",
        "_position",
        "_request",
        "is_idle",
        "is_paused",
        "state",
    )

    def __init__(self, limits: Limits) -> None:
        self.state = State.IDLE
        self.is_idle = True  # between requests, with nothing received and not yet dealt with
        self.is_paused = False
        """Whether next_request stopped to let other connections go on: call it again, later."""
        self._limits = limits
        self._input = b""
        self._position = 0  # what lies before it has been dealt with
        self._is_closing = False  # the next response is the connection's last
        self._eof_received = False  # the client will send no more
        self._request: Request | None = None
        self._body_reader: BodyReader | None = None  # content that is announced and not yet read
        self._keep_alive = True
        self._bytes_checked = (
            0  # octets of the head that is arriving that were found to be in order
        )
        self._has_unread_input = False  # the client may be sending what nobody will read

    @property
    def buffered(self) -> int:
        """Octets received and not yet dealt with."""
        return len(self._input) - self._position

    def receive(self, octets: bytes) -> None:
        """Take what has arrived."""
        self.is_idle = False
        if self.state >= State.LINGERING:
            return
        if self._position < len(self._input):
            octets = self._input[self._position :] + octets
        self._input, self._position = octets, 0

    def receive_eof(self) -> None:
        """Note that the client has sent all it will: what it asked for is still answered."""
        self._eof_received = True
        self.is_idle = False
        if self.state is State.LINGERING:
            self.close()

    def next_request(self) -> Request | None:
        """Return the next request; None while its input is incomplete or another one is out."""
        if self.state >= State.HANDLING:
            return None
        try:
            self._read()
        except HttpError as refused:
            return self.reject(refused)
        return self._request if self.state is State.HANDLING else None

    def peek_head(self) -> bytes | None:
        """Return the head that comes next, unread, if it has arrived whole and nothing is out."""
        if self.state is not State.IDLE:
            return None
        end = self._input.find(_HEAD_END, self._position)
        return self._input[self._position : end + len(_HEAD_END)] if end >= 0 else None

    def skip_head(self, head: bytes) -> None:
        """Pass over next_head's head: it is answered without being read."""
        self._position += len(head)
        self.is_idle = not (self.buffered or self._is_closing or self._eof_received)

    def reject(self, error: HttpError) -> Request:
        """Give up on the request that is arriving and return it, to be answered with an error.

        Also on one that is out, or whose response failed before any of it was sent.
        """
        request = self._request or head_parser.parse_request_line_leniently(
            self._input[self._position :]
        )
        self._request = request._replace(error=error)
        self._keep_alive, self._has_unread_input = False, True
        self.is_paused = False
        self._transition(Event.REJECTED)
        return self._request

    def start_response(self, response: Response, date: str) -> list[BodyPart]:
        """Return what to send, in order. date: the value of the Date field."""
        self._keep_alive = self.keep_alive and not response.close
        option = None if response.tunnel else self._connection_header()
        head = encode_head(response, date, option)
        self._transition(Event.RESPONSE_STARTED)
        first, *others = response.body or (b"",)
        if isinstance(first, bytes):
            return [head + first, *others]  # one write instead of two
        return [head, first, *others]

    def begin_cached(self, *, closes: bool) -> None:
        """Note that a reply which was made before leaves again, in place of reply's pieces."""
        self._keep_alive = self.keep_alive and not closes
        self._transition(Event.RESPONSE_STARTED)

    def close_after_response(self) -> None:
        """Make the next response the connection's last, or the one that is leaving."""
        self._is_closing = True
        self.is_idle = False

    @property
    def eof_received(self) -> bool:
        """Whether the client will send no more."""
        return self._eof_received

    @property
    def keep_alive(self) -> bool:
        """Whether the connection outlives the response to the request that is out."""
        return self._keep_alive and not self._is_closing

    def response_sent(self) -> None:
        """Note that the whole response has been handed on."""
        self._request = None
        # A reply that began before finish has promised to go on; it is not broken by closing a
        # connection on which nothing more has been asked (RFC 9112 section 9.3.1).
        if self._keep_alive and (self.buffered or not self._is_closing):
            self._transition(Event.KEPT_ALIVE)
            self.is_idle = not (self.buffered or self._is_closing or self._eof_received)
        else:
            unread = (self._has_unread_input or self.buffered > 0) and not self._eof_received
            self._input, self._position = b"", 0
            self._transition(Event.CLOSED_EARLY if unread else Event.CLOSED_CLEANLY)

    def start_tunnel(self) -> bytes:
        """Note that the connection now is a tunnel; return what arrived for its other end."""
        self._transition(Event.TUNNEL_STARTED)
        octets, self._input = self._input[self._position :], b""
        self._position = 0
        return octets

    def close(self) -> None:
        """Note that nothing more will arrive or leave."""
        self._transition(Event.ENDED)

    def _transition(self, event: Event) -> None:
        self.is_idle = False
        self.state = TRANSITIONS[self.state, event]

    def _read(self) -> None:
        if self.state is State.IDLE:
            self._await_head()
        if self.state is State.HEAD:
            self._read_head()
        if self.state is State.BODY:
            self._discard_body()
        if self._eof_received and self.state < State.HANDLING and not self.is_paused:
            if self.state is not State.IDLE:
                raise HttpError(400, "The request ended before it was complete.")
            self.close()

    def _await_head(self) -> None:
        """Pass over empty lines before a request line (RFC 9112 section 2.2)."""
        if self._input.startswith(b"\r\n", self._position):
            # Matched at once: 131,000 empty lines in one read took 13 ms as a loop.
            empty = _EMPTY_LINES.match(self._input, self._position)
            self._position = empty.end() if empty else self._position
        beginning = self._input[self._position : self._position + 2]
        if beginning in _NOTHING_YET:
            return
        self._transition(Event.HEAD_BEGUN)
        if beginning[0] in b"\r\n":
            raise HttpError(400, "A line ends with something else than CR LF.")

    def _read_head(self) -> None:
        end = self._input.find(_HEAD_END, self._position)
        stop = end + len(_HEAD_END) if end >= 0 else len(self._input)
        octets = self._input[self._position : stop]
        head_parser.check_size(octets, self._limits)
        if end < 0:
            self._check_beginning(octets)
            return
        self._bytes_checked = 0
        self._request, section = head_parser.parse_head(octets)
        self._position = stop
        self._begin_body(section)

    def _check_beginning(self, octets: bytes) -> None:
        """Judge a line when it is complete, not at each octet: what trickles in stays cheap."""
        lines_end = octets.rfind(b"\n") + 1
        if not lines_end:
            head_parser.check_beginning(octets)
        elif lines_end > self._bytes_checked:
            head_parser.check_beginning(octets[:lines_end])
            self._bytes_checked = lines_end

    def _begin_body(self, section: head_parser.ParsedHeaders) -> None:
        """Choose how the content is to be read past, and whether at all."""
        self._keep_alive = section.keep_alive
        length = section.length
        if length == 0:
            self._transition(Event.HEAD_ENDED)
            return
        limit = self._limits.max_body
        self._body_reader = (
            ChunkedReader(limit, self._limits.max_header_size)
            if length is None
            else LengthReader(length)
        )
        if section.expects_continue:
            # Nothing here stores content, so it is not invited: the answer is final and the
            # connection cannot go on, since the client may send it all the same (RFC 9110 10.1.1).
            self._keep_alive, self._has_unread_input = False, True
            self._transition(Event.HEAD_ENDED)
        elif length is not None and length > limit:
            raise HttpError(413, "The content of the request is too large.")
        else:
            self._transition(Event.CONTENT_ANNOUNCED)

    def _discard_body(self) -> None:
        framing = self._body_reader
        if framing is None:
            return
        self._position = framing.consume(self._input, self._position)
        self.is_paused = framing.is_paused
        if framing.complete:
            self._body_reader = None
            self._transition(Event.CONTENT_ENDED)

    def _connection_header(self) -> str | None:
        """Return the Connection field's value, None where the version implies it (9112 9.3)."""
        if not self._keep_alive:
            return "close"
        return "keep-alive" if self._request and self._request.minor == 0 else None
