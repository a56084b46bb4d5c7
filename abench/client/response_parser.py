"""Where a response ends and what it was: HTTP/1.1 on the client's side, without any I/O."""

import re

import httptools

from abench.client.head_repair import LAST_CHUNK, is_repairable, repair_heads
from abench.errors import AbenchError
from abench.plan.success import SuccessCriteria

MAX_HEAD_SIZE = 1024 * 1024  # bytes of interim and final heads, and of the read that ends them

_BLANK_LINE = b"\r\n\r\n"
_TRANSFER_ENCODING = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r]*chunked[ \t]*\r\n", re.IGNORECASE)
_KEEP_ALIVE = re.compile(
    rb"\r\nconnection:(?:[^\r]*,)?[ \t]*keep-alive[ \t]*(?:,[^\r]*)?\r\n", re.IGNORECASE
)
_CLOSE = re.compile(rb"\r\nconnection:(?:[^\r]*,)?[ \t]*close[ \t]*(?:,[^\r]*)?\r\n", re.IGNORECASE)
_PARSER_ERRORS = (httptools.HttpParserError, httptools.HttpParserUpgrade)
_BODILESS_STATUSES = frozenset({204, 304})  # RFC 9112 section 6.3 rule 1
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LOCATION = re.compile(rb"\nlocation:[ \t]*([^\r\n]*)", re.IGNORECASE)
_MAX_LINE_SHOWN = 400  # bytes of a status line, or of what stands in its place
_EXCESS = "bytes beyond the response's length"


def first_line(head: bytes) -> bytes:
    """Return the status line of a head, or what stands in its place."""
    return head[:_MAX_LINE_SHOWN].partition(b"\n")[0].rstrip(b"\r")


def location_in(head: bytes) -> bytes:
    """Return the Location of a head (RFC 9110 section 10.2.2); empty without one."""
    found = _LOCATION.search(_HEAD_END.split(head, 1)[0])
    return found[1].rstrip() if found else b""


class ResponseError(AbenchError):
    """Bytes that are no HTTP/1.x response to the request."""


class ResponseParser:
    """The responses on one connection, one after the other, parsed by httptools.

    `feed` the received bytes until it returns True; then `status` and `keep_alive` are those of
    the response, and `recognizable_head` tells whether the next one can be recognized without
    parsing it. `is_head_request` tells that the response awaited is to a HEAD request.
    """

    __slots__ = (
        "_has_excess",
        "_has_head",
        "_head",
        "_head_as_sent",
        "_interim",
        "_is_complete",
        "_needs_parser",
        "_needs_repair",
        "_parser",
        "_reads",
        "is_head_request",
        "keep_alive",
        "status",
    )

    def __init__(self, *, is_head_request: bool = False) -> None:
        self.is_head_request = is_head_request
        self.reset()

    def reset(self) -> None:
        """Prepare for the first response on a new connection."""
        self._needs_parser = True  # created on first use
        self._reset_response()

    def _reset_response(self) -> None:
        self.status = 0
        self.keep_alive = False
        self._head = self._head_as_sent = b""  # as sent: before it was repaired
        self._reads = self._interim = 0
        self._has_head = self._is_complete = self._has_excess = self._needs_repair = False

    @property
    def has_begun(self) -> bool:
        """Whether any byte of the response awaited was received."""
        return self._reads > 0 and not self._is_complete

    def first_line(self) -> bytes:
        """Return the status line of the response, or what stands in its place."""
        return first_line(self._head)

    @property
    def head(self) -> bytes:
        """The head of the response just completed, without interim ones."""
        return self._head

    def location(self) -> bytes:
        """Return the Location of the response just completed; empty without one."""
        return location_in(self._head)

    def describe_failure(self) -> bytes:
        """Return what tells most about the response just completed, which failed."""
        location = self.location()
        return first_line(self._head) + (b" to " + location if location else b"")

    def feed(self, data: bytes | memoryview) -> bool:
        """Parse the next bytes; return True when the response is complete.

        Raises ResponseError for anything but the one response awaited: garbage, a head without end
        or bytes beyond the length of the response.
        """
        if self._needs_parser:
            self._needs_parser = False
            self._parser = httptools.HttpResponseParser(self)
        if self._is_complete:
            self._reset_response()
        self._reads += 1
        if not self._has_head:
            self._append_to_head(data)
        try:
            if (self.is_head_request or self._needs_repair) and not self._has_head:
                self._feed_whole_heads()
            else:
                self._parser.feed_data(data)
        except _PARSER_ERRORS as error:
            self._retry_repaired(error, data)
        if self._has_excess:
            raise ResponseError(_EXCESS)
        if self._has_head and not self._head.startswith(b"HTTP/1."):
            raise ResponseError("not HTTP/1.x")  # the parser also takes RTSP and HTTP/2.0
        return self._is_complete

    def finish(self) -> bool:
        """Handle the end of the connection; return True if that completes the response.

        RFC 9112 section 6.3 rule 8: a response with neither Content-Length nor chunked coding
        lasts until the connection closes.
        """
        if not self._has_head or self._is_complete:
            return False
        head = self._head
        self._is_complete = not (_CONTENT_LENGTH.search(head) or _CHUNKED.search(head))
        self.keep_alive = False
        return self._is_complete

    def failure_kind(self, expectation: SuccessCriteria) -> str:
        """Return how the response just completed failed: "status", or "" for a success."""
        return "" if self.status in expectation.statuses else "status"

    def recognizable_head(self) -> bytes | None:
        """Return the head of the response just completed, if it alone decides where that ends.

        A later read of the same length that starts with the same head is then a complete response
        too: same headers, same framing, whatever the body is. None for a response in several
        reads, a chunked one, one after an interim response and one that lasts until the connection
        closes.
        """
        if self._reads > 1 or self._interim or not self._is_self_delimited:
            return None
        if _TRANSFER_ENCODING.search(self._head):
            return None
        return self._head_as_sent or self._head + b"\r\n"

    @property
    def _is_self_delimited(self) -> bool:
        return self.keep_alive or bool(_CONTENT_LENGTH.search(self._head))

    def _append_to_head(self, data: bytes | memoryview) -> None:
        self._head += data
        if len(self._head) > MAX_HEAD_SIZE:
            raise ResponseError("a head without end")

    def _retry_repaired(self, error: Exception, data: bytes | memoryview) -> None:
        """Parse what httptools rejects and user agents accept; raises ResponseError otherwise."""
        self._needs_parser = True  # this one accepts nothing more
        if self._is_complete and self.status in _BODILESS_STATUSES:
            # All that was received with it may be ignored (RFC 9112 section 6.3). The length of a
            # body that should not be there is unknown, except that of a last chunk.
            self._has_excess = False
            self.keep_alive = self.keep_alive and bytes(data[-6:]) == b"\n" + LAST_CHUNK
        elif (
            self._has_head
            or self._needs_repair
            or self.is_head_request
            or not is_repairable(self._head)
        ):
            raise ResponseError(_EXCESS if self._is_complete else str(error)) from None
        else:
            self._needs_repair = True
            try:
                self._feed_whole_heads()
            except _PARSER_ERRORS as again:
                self._retry_repaired(again, data)

    def _feed_whole_heads(self) -> None:
        """Parse heads once all are received and repaired, with a new parser."""
        if not (found := repair_heads(self._head)):
            return
        heads, end = found
        sent, rest = self._head[:end], self._head[end:]
        self._head, self._interim = heads, 0
        if self.is_head_request:
            self._feed_heads(rest)
        else:
            self._needs_parser, self._parser = False, httptools.HttpResponseParser(self)
            self._parser.feed_data(heads + rest)
        if sent != heads:
            self._head_as_sent = sent

    def _feed_heads(self, rest: bytes) -> None:
        """Parse responses to HEAD, which end with their heads (RFC 9112 section 6.3 rule 1).

        httptools has no such mode, and would wait for the body that Content-Length announces: each
        head gets a parser of its own.
        """
        self._needs_parser = True
        for head in self._head.split(_BLANK_LINE)[:-1]:
            self._parser = httptools.HttpResponseParser(self)
            self._parser.feed_data(head + _BLANK_LINE)
            if self._has_head:
                self._is_complete = True
                self.keep_alive = self._keeps_alive(head)
        self._has_excess = self._has_excess or not LAST_CHUNK.startswith(rest)
        self.keep_alive = self.keep_alive and rest in {b"", LAST_CHUNK}

    def _keeps_alive(self, head: bytes) -> bool:
        """Apply RFC 9112 section 9.3, unlike httptools without regard to the length of a body."""
        if self._parser.get_http_version() == "1.1":
            return not _CLOSE.search(head + b"\r\n")
        return bool(_KEEP_ALIVE.search(head + b"\r\n"))

    def _last_head(self) -> bytes:
        """Return the head of the final response, past interim ones, which have no body."""
        return self._head.split(_BLANK_LINE, self._interim + 1)[self._interim] + b"\r\n"

    def on_message_begin(self) -> None:
        """Note that a response begins (called by httptools): a second one is one too many."""
        self._has_excess = self._has_head

    def on_headers_complete(self) -> None:
        """Note the status of a head (called by httptools); 1xx is interim (RFC 9110, 15.2)."""
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._interim += 1
        elif not self._has_excess:
            self.status = status
            self._has_head = True
            self._head = self._last_head()  # a body in the same read is not kept

    def on_message_complete(self) -> None:
        """Note that the response is complete (called by httptools)."""
        if self._has_head and not self._has_excess:
            self._is_complete = True
            self.keep_alive = self._parser.should_keep_alive()
