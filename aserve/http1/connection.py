"""One HTTP/1.1 connection, without I/O: pipelining, persistence, request bodies, closing."""

import re
from collections.abc import Callable

from aserve.http.messages import (
    BodyPart,
    BodySink,
    BodyStream,
    CloseStream,
    HttpError,
    Request,
    Response,
)
from aserve.http1 import head_parser
from aserve.http1.body_reader import BodyReader, ChunkedReader, LengthReader
from aserve.http1.head_encoder import encode_head
from aserve.http1.limits import Limits
from aserve.http1.response_framing import frame_response
from aserve.http1.states import TRANSITIONS, Event, State

BodyAcceptor = Callable[[Request], BodySink | None]
"""Returns what gets the body of one client's request; None to discard it. Raises HttpError."""

RequestCounter = Callable[[Request], HttpError | None]
"""Counts a request of one client; returns the error to answer it with if it is one too many."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_NO_REQUEST = Request("", "")
_HEAD_END = b"\r\n\r\n"
_INCOMPLETE_STARTS = frozenset({b"", b"\r"})
_EMPTY_LINES = re.compile(rb"(?:\r\n)*")


class H1Connection:
    """Bytes in, Requests out; Responses in, body parts out.

    One request is handled at a time. Pipelined ones wait in the input, so responses keep their
    order and only the input needs a bound (buffered). How the input is split into reads makes no
    difference to the output.
    """

    __slots__ = (
        "_body_reader",
        "_bytes_checked",
        "_closes_next",
        "_eof_received",
        "_has_unread_input",
        "_input",
        "_is_closing",
        "_keep_alive",
        "_limits",
        "_position",
        "_request",
        "accept_body",
        "body",
        "body_received",
        "body_size",
        "close_stream",
        "count_request",
        "ends_by_closing",
        "is_idle",
        "is_paused",
        "sink",
        "sink_is_new",
        "state",
        "wants_continue",
    )

    def __init__(self, limits: Limits) -> None:
        self.state = State.IDLE
        self.is_idle = True  # between requests, with no unprocessed input
        self.is_paused = False
        """Whether next_request stopped to give other connections a turn: call it again, later."""
        self.ends_by_closing = False
        """Whether only the end of the connection tells the client that the response is complete."""
        self.accept_body: BodyAcceptor | None = None
        """Called with each request that has a body, also an empty one."""
        self.count_request: RequestCounter | None = None
        """Called with each request whose head is valid, before accept_body."""
        self.sink: BodySink | None = None
        """What gets the body of the current request, which is discarded if there is none.

        It stays here until the owner of this object takes it away, to finish or to close it.
        """
        self.sink_is_new = False
        """Whether the sink's begin was not called yet, which is the owner's part."""
        self.body: list[bytes] = []
        """Bytes of the body for the sink: no more are read while some are here."""
        self.body_received = 0
        """Bytes of the current request's body that its sink has got."""
        self.body_size = 0
        """Bytes of the body of the last response that was started, without those of a stream."""
        self.close_stream: CloseStream = BodyStream.close
        """Closes a stream that is not sent, as to HEAD. An event loop leaves that to a thread."""
        self.wants_continue = False
        """Whether the client waits for CONTINUE before it sends the body."""
        self._limits = limits
        self._input = b""
        self._position = 0  # input before it has been processed
        self._is_closing = False  # the next response is the last
        self._closes_next = False  # the same, of the next one that is not started yet
        self._eof_received = False  # the client has closed its side
        self._request: Request | None = None
        self._body_reader: BodyReader | None = None  # of a body not yet read
        self._keep_alive = True
        self._bytes_checked = 0  # of an incomplete head: those found valid so far
        self._has_unread_input = False  # the client may send input that stays unread

    @property
    def buffered(self) -> int:
        """Bytes received and not yet processed."""
        return len(self._input) - self._position

    def receive(self, data: bytes) -> None:
        """Add received bytes to the input. In LINGERING and later they are discarded."""
        self.is_idle = False
        if self.state >= State.LINGERING:
            return
        if self._position < len(self._input):
            data = self._input[self._position :] + data
        self._input, self._position = data, 0

    def receive_eof(self) -> None:
        """Note that the client has closed its side. Requests received so far are still answered."""
        self._eof_received = True
        self.is_idle = False
        if self.state is State.LINGERING:
            self.close()

    def next_request(self) -> Request | None:
        """Return the next request; None if it is incomplete or another one is being handled."""
        if self.state >= State.HANDLING:
            return None
        try:
            if self.state is State.IDLE:
                self._await_head()
            if self.state is State.HEAD:
                self._read_head()
            if self.state is State.BODY:
                self._read_body()
            if self._eof_received:
                self._check_end()
        except HttpError as error:
            return self.reject(error)
        return self._request if self.state is State.HANDLING else None

    @property
    def unread_body(self) -> int:
        """Bytes that are still to be received of a body of known length, and of nothing else.

        0 for a body in chunks: where it ends, and whether it is valid, is found by reading it here.
        """
        reader = self._body_reader
        return reader.remaining if isinstance(reader, LengthReader) and not self.buffered else 0

    def skip_body(self, size: int) -> None:
        """Note that the sink has got bytes of unread_body from elsewhere."""
        reader = self._body_reader
        if isinstance(reader, LengthReader):
            reader.remaining -= size
            self.body_received += size

    def take_body(self) -> bytes:
        """Take what was read of the body and not taken yet."""
        data = b"".join(self.body)
        self.body.clear()
        self.body_received += len(data)
        return data

    def peek_head(self) -> bytes | None:
        """Return the next head, unparsed, if it is complete and no request is being handled."""
        if self.state is not State.IDLE:
            return None
        end = self._input.find(_HEAD_END, self._position)
        return self._input[self._position : end + len(_HEAD_END)] if end >= 0 else None

    def skip_head(self, head: bytes) -> None:
        """Skip peek_head's head: it is answered from the cache, without being parsed."""
        self._position += len(head)
        self.is_idle = not (self.buffered or self._is_closing or self._eof_received)

    def reject(self, error: HttpError) -> Request:
        """Abandon the request that is arriving and return it with its error set.

        Also a request that is being handled, or whose response failed before any of it was sent.
        """
        request = self._request or head_parser.parse_request_line_leniently(
            self._input[self._position :]
        )
        self._request = request._replace(error=error)
        self._keep_alive, self._has_unread_input = False, True
        self.is_paused = self.wants_continue = False
        self._transition(Event.REJECTED)
        return self._request

    def reject_body(self, error: HttpError) -> Request:
        """Return the request whose body a sink rejects, with its error set.

        Only a request whose body is still arriving is rejected, and so the last one.
        """
        self.body.clear()
        if self.state is State.HANDLING and self._request:
            return self._request._replace(error=error)
        return self.reject(error)

    def start_response(self, response: Response, date: str) -> list[BodyPart]:
        """Return what to send, in order. date: the value of the Date header.

        Raises ValueError if the response contradicts itself; it is not started then.
        """
        request = self._request or _NO_REQUEST
        response, self.body_size = frame_response(request, response, self.close_stream)
        first, *rest = response.body or (b"",)
        if not isinstance(first, bytes):
            # A stream without a length is in chunks, which HTTP/1.0 does not have.
            self.ends_by_closing = response.length is None and request.minor == 0
            first, rest = b"", list(response.body)
        if request.method == "CONNECT" and not response.takeover:
            # A client may send bytes for the tunnel before it knows that there is none. They are
            # those of a program behind the client, and must not be read as the client's requests.
            self._keep_alive, self._has_unread_input = False, True
        self._keep_alive = self._keep_alive and not (
            self._is_closing or self._closes_next or response.close
        )
        if response.takeover or (self._keep_alive and request.minor >= 1):
            connection = None  # the version implies it (RFC 9112 section 9.3)
        else:
            connection = "keep-alive" if self._keep_alive else "close"
        head = encode_head(response, date, connection)
        self._transition(Event.RESPONSE_STARTED)
        return [head + first, *rest]  # one write for the head and the first bytes

    def begin_cached(self, *, closes: bool) -> None:
        """Note that a cached response is being sent, in place of start_response.

        closes: whether its Connection header says close.
        """
        self._keep_alive = self.keep_alive and not closes
        self._transition(Event.RESPONSE_STARTED)

    def close_after_response(self) -> None:
        """Make the response that is being sent, or else the next one, the last."""
        self._is_closing = True
        self.is_idle = False

    def close_after_next_response(self) -> None:
        """Make the next response that is not started yet the last; wait for its request."""
        self._closes_next = True
        self.is_idle = False

    def change_limits(self, limits: Limits) -> None:
        """Apply other limits to what is received from now on."""
        self._limits = limits

    @property
    def eof_received(self) -> bool:
        """Whether the client has closed its side."""
        return self._eof_received

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open after the current response."""
        return self._keep_alive and not (self._is_closing or self._closes_next)

    @property
    def is_closing(self) -> bool:
        """Whether close_after_response was called."""
        return self._is_closing

    def response_sent(self) -> None:
        """Note that the whole response has been sent."""
        self._request = None
        self.body_received = 0
        buffered = len(self._input) - self._position
        # A response that began before close_after_response() announced keep-alive. Closing is only
        # correct if no further request has arrived (RFC 9112 section 9.3.1).
        if self._keep_alive and (buffered or not self._is_closing):
            self._transition(Event.KEPT_ALIVE)
            self.is_idle = not (
                buffered or self._is_closing or self._closes_next or self._eof_received
            )
        else:
            unread = (self._has_unread_input or buffered > 0) and not self._eof_received
            self._input, self._position = b"", 0
            self._transition(Event.CLOSED_EARLY if unread else Event.CLOSED_CLEANLY)

    def take_over(self) -> bytes:
        """Give the connection to a Takeover; return the bytes already received, which are its."""
        self._transition(Event.TAKEN_OVER)
        data, self._input = self._input[self._position :], b""
        self._position = 0
        return data

    def close(self) -> None:
        """Close: nothing more will be received or sent."""
        self._transition(Event.ENDED)

    def _transition(self, event: Event) -> None:
        self.is_idle = False
        self.state = TRANSITIONS[self.state, event]

    def _check_end(self) -> None:
        """Close, or reject a request that the client has not sent to its end."""
        if self.state < State.HANDLING and not (self.is_paused or self.body):
            if self.state is not State.IDLE:
                raise HttpError(400, "The request ended before it was complete.")
            self.close()

    def _await_head(self) -> None:
        """Skip empty lines before a request line (RFC 9112 section 2.2)."""
        if self._input.startswith(b"\r\n", self._position):
            # One match for all: 131,000 empty lines in one read took 13 ms in a loop.
            empty_lines = _EMPTY_LINES.match(self._input, self._position)
            self._position = empty_lines.end() if empty_lines else self._position
        beginning = self._input[self._position : self._position + 2]
        if beginning in _INCOMPLETE_STARTS:
            return
        self._transition(Event.HEAD_BEGUN)
        if beginning[0] in b"\r\n":
            raise HttpError(400, "A line does not end with CR LF.")

    def _read_head(self) -> None:
        end = self._input.find(_HEAD_END, self._position)
        stop = end + len(_HEAD_END) if end >= 0 else len(self._input)
        data = self._input[self._position : stop]
        size, limits = stop - self._position, self._limits
        # No line is shorter than three bytes, so most heads are not too large at first sight.
        if size > 3 * limits.max_headers or (
            size > limits.max_request_line or size > limits.max_header_size
        ):
            head_parser.check_size(data, limits)
        if end < 0:
            self._check_beginning(data)
            return
        self._bytes_checked = 0
        request, headers = head_parser.parse_head(data)
        if self.count_request and (error := self.count_request(request)):
            request = request._replace(error=error)
        self._request, self._position = request, stop
        self._begin_body(headers)

    def _check_beginning(self, data: bytes) -> None:
        """Check each line once, when it is complete: a head that trickles in stays cheap."""
        lines_end = data.rfind(b"\n") + 1
        if not lines_end:
            head_parser.check_beginning(data)
        elif lines_end > self._bytes_checked:
            head_parser.check_beginning(data[:lines_end])
            self._bytes_checked = lines_end

    def _begin_body(self, headers: head_parser.ParsedHeaders) -> None:
        """Choose the reader for the request body, or none if it will not be read."""
        self._keep_alive = headers.keep_alive
        length = headers.length
        is_refused = self._request is not None and self._request.error is not None
        accept_body = None if is_refused else self.accept_body
        if length == 0 and not (accept_body and "content-length" in headers.headers):
            # Only a sink tells an empty body from none.
            self._transition(Event.HEAD_ENDED)
            return
        if is_refused:
            self._end_unread()
            return
        if accept_body and self._request:
            self.sink = accept_body(self._request)
            self.sink_is_new = self.sink is not None
        limit = self.sink.max_size if self.sink else self._limits.max_body
        on_data = self.body.append if self.sink else None
        self._body_reader = (
            ChunkedReader(limit, self._limits.max_header_size, on_data)
            if length is None
            else LengthReader(length, on_data)
        )
        expects_continue = headers.expects_continue and length != 0
        if expects_continue and not self.sink:
            # No sink gets the body, so 100 (Continue) is not sent, and the response is final.
            self._end_unread()
        elif length is not None and length > limit:
            raise HttpError(413, "The request body is too large.")
        else:
            self.wants_continue = expects_continue and not self.buffered
            self._transition(Event.BODY_ANNOUNCED)

    def _end_unread(self) -> None:
        """Read nothing of a body: the client may send it anyway, so the connection closes.

        RFC 9110 section 10.1.1.
        """
        self._keep_alive, self._has_unread_input = False, True
        self._transition(Event.HEAD_ENDED)

    def _read_body(self) -> None:
        reader = self._body_reader
        if reader is None:
            return
        if not self.body:
            self._position = reader.consume(self._input, self._position)
            self.is_paused = reader.is_paused
        if reader.complete:
            self._body_reader = None
            self._transition(Event.BODY_ENDED)
