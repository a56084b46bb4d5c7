"""Where one reply ends and what it was: HTTP/1.1 from the client's side, without any I/O."""

import re

import httptools

from abench.client.head_repair import LAST_CHUNK, is_repairable, repair_heads
from abench.errors import AbenchError
from abench.plan.success import SuccessCriteria

MAX_HEAD = 1024 * 1024  # octets of interim and final heads together, and of the read after

_BLANK_LINE = b"\r\n\r\n"
_TRANSFER_ENCODING = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r]*chunked[ \t]*\r\n", re.IGNORECASE)
_KEEP = re.compile(
    rb"\r\nconnection:(?:[^\r]*,)?[ \t]*keep-alive[ \t]*(?:,[^\r]*)?\r\n", re.IGNORECASE
)
_CLOSE = re.compile(rb"\r\nconnection:(?:[^\r]*,)?[ \t]*close[ \t]*(?:,[^\r]*)?\r\n", re.IGNORECASE)
_PARSER_ERRORS = (httptools.HttpParserError, httptools.HttpParserUpgrade)
_WITHOUT_BODY = frozenset({204, 304})  # RFC 9112 section 6.3 rule 1
_STATUS_LINE = re.compile(rb"HTTP/\d\.\d ([1-5]\d\d)")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_LOCATION = re.compile(rb"\nlocation:[ \t]*([^\r\n]*)", re.IGNORECASE)
_BODY_SHOWN = 80  # bytes
_LINE_SHOWN = 400  # bytes of a status line, or of what is none
_BEYOND = "bytes beyond the response's length"
_MAX_HTTP09_HEAD = 1_000  # bytes of what may be a head where HTTP/0.9 has none


def first_line(head: bytes) -> bytes:
    """Return the status line of a head, or what stands in its place."""
    return head[:_LINE_SHOWN].partition(b"\n")[0].rstrip(b"\r")


def location_in(head: bytes) -> bytes:
    """Return where a head leads to (RFC 9110 section 10.2.2), empty if it does not say."""
    found = _LOCATION.search(_END_OF_HEAD.split(head, 1)[0])
    return found[1].rstrip() if found else b""


class ResponseError(AbenchError):
    """Octets that are no HTTP/1.x reply to what was asked."""


class ResponseParser:
    """The replies on one connection, one after the other, read by httptools.

    `feed` what arrives until it returns True; then `status` and `keep_alive` are the reply's, and
    `fixed_head` tells whether the next one can be recognised without reading it. `bodiless` says
    that the reply awaited is to a HEAD request.
    """

    __slots__ = (
        "_as_sent",
        "_has_excess",
        "_has_head",
        "_head",
        "_interim",
        "_irregular",
        "_is_complete",
        "_needs_parser",
        "_parser",
        "_reads",
        "is_head_request",
        "keep_alive",
        "status",
    )

    def __init__(self, *, bodiless: bool = False) -> None:
        self.is_head_request = bodiless
        self.reset()

    def reset(self) -> None:
        """Be ready for the first reply on a new connection."""
        self._needs_parser = True  # a parser is made when one is needed
        self._reset_response()

    def _reset_response(self) -> None:
        self.status = 0
        self.keep_alive = False
        self._head = self._as_sent = b""  # as sent: where the head had to be repaired
        self._reads = self._interim = 0
        self._has_head = self._is_complete = self._has_excess = self._irregular = False

    @property
    def has_begun(self) -> bool:
        """Whether any octet of the reply awaited has arrived."""
        return self._reads > 0 and not self._is_complete

    def first_line(self) -> bytes:
        """Return the status line of the response, or what stands in its place."""
        return first_line(self._head)

    def location(self) -> bytes:
        """Return where the response just completed leads to, empty if it does not say."""
        return location_in(self._head)

    def describe_failure(self) -> bytes:
        """Return what tells most about the response just completed, which has a fault."""
        location = self.location()
        return first_line(self._head) + (b" to " + location if location else b"")

    def feed(self, data: bytes | memoryview) -> bool:
        """Take the next octets; return True when the reply is complete.

        Raises ReplyError for anything but the one reply awaited, be it garbage, a head without
        end or octets beyond the reply's own length.
        """
        if self._needs_parser:
            self._needs_parser = False
            self._parser = httptools.HttpResponseParser(self)
        if self._is_complete:
            self._reset_response()
        self._reads += 1
        if not self._has_head:
            self._keep_head(data)
        try:
            if (self.is_head_request or self._irregular) and not self._has_head:
                self._feed_whole_heads()
            else:
                self._parser.feed_data(data)
        except _PARSER_ERRORS as error:
            self._retry_repaired(error, data)
        if self._has_excess:
            raise ResponseError(_BEYOND)
        if self._has_head and not self._head.startswith(b"HTTP/1."):
            raise ResponseError("not HTTP/1.x")  # the parser also takes RTSP and HTTP/2.0
        return self._is_complete

    def finish(self) -> bool:
        """Take the end of the connection; return True when that completes the reply.

        RFC 9112 section 6.3 rule 8: a reply with neither Content-Length nor chunked coding lasts
        until the connection closes.
        """
        if not self._has_head or self._is_complete:
            return False
        head = self._head
        self._is_complete = not (_CONTENT_LENGTH.search(head) or _CHUNKED.search(head))
        self.keep_alive = False
        return self._is_complete

    def failure_kind(self, expectation: SuccessCriteria) -> str:
        """Return what is wrong with the reply just completed: "status", or "" for nothing."""
        return "" if self.status in expectation.statuses else "status"

    def recognizable_head(self) -> bytes | None:
        """Return the head of the reply just completed, if it alone decides where a reply ends.

        A later piece of the same length that starts with the same head is then a complete reply
        too: same fields, same framing, whatever the body is. None for a reply in many pieces, a
        chunked one, one after an interim reply and one that lasts until the connection closes.
        """
        if self._reads > 1 or self._interim or not self._is_self_delimited:
            return None
        if _TRANSFER_ENCODING.search(self._head):
            return None
        return self._as_sent or self._head + b"\r\n"

    @property
    def _is_self_delimited(self) -> bool:
        return self.keep_alive or bool(_CONTENT_LENGTH.search(self._head))

    def _keep_head(self, data: bytes | memoryview) -> None:
        self._head += data
        if len(self._head) > MAX_HEAD:
            raise ResponseError("a head without end")

    def _retry_repaired(self, error: Exception, data: bytes | memoryview) -> None:
        """Take what the parser refuses and user agents do not; raises ReplyError otherwise."""
        self._needs_parser = True  # this parser takes nothing more
        if self._is_complete and self.status in _WITHOUT_BODY:
            # All that has come with it may be ignored (RFC 9112 section 6.3). What a body's length
            # is that there should not be is not known, but of the last chunk.
            self._has_excess = False
            self.keep_alive = self.keep_alive and bytes(data[-6:]) == b"\n" + LAST_CHUNK
        elif (
            self._has_head
            or self._irregular
            or self.is_head_request
            or not is_repairable(self._head)
        ):
            raise ResponseError(_BEYOND if self._is_complete else str(error)) from None
        else:
            self._irregular = True
            try:
                self._feed_whole_heads()
            except _PARSER_ERRORS as again:
                self._retry_repaired(again, data)

    def _feed_whole_heads(self) -> None:
        """Read heads once all have come and are repaired, with a parser of their own."""
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
            self._as_sent = sent

    def _feed_heads(self, rest: bytes) -> None:
        """Read replies to HEAD, which end with their heads (RFC 9112 section 6.3 rule 1).

        The parser cannot be told, and would wait for the body that Content-Length announces: each
        head has a parser of its own, also of what comes next.
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
        """Apply RFC 9112 section 9.3 without the parser's care for the length of a body."""
        if self._parser.get_http_version() == "1.1":
            return not _CLOSE.search(head + b"\r\n")
        return bool(_KEEP.search(head + b"\r\n"))

    def _last_head(self) -> bytes:
        """Return the final reply's head, past those of interim replies, which have no body."""
        return self._head.split(_BLANK_LINE, self._interim + 1)[self._interim] + b"\r\n"

    def on_message_begin(self) -> None:
        """Notice, for the parser, that a reply begins: a second one was never asked for."""
        self._has_excess = self._has_head

    def on_headers_complete(self) -> None:
        """Note, for the parser, the status of a head. 1xx is no reply (RFC 9110 section 15.2)."""
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._interim += 1
        elif not self._has_excess:
            self.status = status
            self._has_head = True
            self._head = self._last_head()  # a body in the same piece is not to be held on to

    def on_message_complete(self) -> None:
        """Note, for the parser, that the reply is complete."""
        if self._has_head and not self._has_excess:
            self._is_complete = True
            self.keep_alive = self._parser.should_keep_alive()


class BodyMatchParser(ResponseParser):
    """A reader that looks for `text` in the bodies of replies."""

    __slots__ = (
        "_body",
        "_found",
        "_tail",
        "_text",
    )

    def __init__(self, text: bytes) -> None:
        self._text = text
        super().__init__()

    def _reset_response(self) -> None:
        super()._reset_response()
        self._found = False
        self._tail = self._body = b""

    def on_body(self, data: bytes) -> None:
        """Look, for the parser, at a piece of the body and at where it meets the one before."""
        if self._found:
            return
        seen = self._tail + data
        if self._text in seen:
            self._found = True
            return
        self._tail = seen[max(0, len(seen) - len(self._text) + 1) :]
        if len(self._body) < _BODY_SHOWN:  # what a response without the text has instead
            self._body += data[: _BODY_SHOWN - len(self._body)]

    def describe_failure(self) -> bytes:
        """Return what tells most about the response just completed, which has a fault."""
        body = b" - its body begins with " + self._body if self._body else b" - its body is empty"
        return super().describe_failure() + (b"" if self._found else body)

    def failure_kind(self, expectation: SuccessCriteria) -> str:
        """Return what is wrong with the reply just completed: its "status" or its "body"."""
        return super().failure_kind(expectation) or ("" if self._found else "body")


class Http09Parser(ResponseParser):
    """Replies as HTTP/0.9 has them: octets until the connection ends, and no status.

    A server that does not know HTTP/0.9 says so with a head all the same, and its status counts.
    """

    __slots__ = ()

    def feed(self, data: bytes | memoryview) -> bool:
        """Take the next octets; only the end of the connection completes a reply."""
        self._reads += 1
        if len(self._head) < _MAX_HTTP09_HEAD:
            self._head += data[:_MAX_HTTP09_HEAD]
        return False

    def finish(self) -> bool:
        """Take the end of the connection, which completes a reply of one octet or more."""
        if not self._head:
            return False
        if found := _STATUS_LINE.match(self._head):
            self.status = int(found[1])
        self._is_complete = True
        return True

    def failure_kind(self, expectation: SuccessCriteria) -> str:
        """Return "status" if there is one, and a wrong one."""
        return super().failure_kind(expectation) if self.status else ""

    def recognizable_head(self) -> None:
        """Return None: nothing is recognised that has no head."""
