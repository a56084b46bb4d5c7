"""The responses of a pipeline: one stream, of which only where each ends and its status matter."""

import httptools

from abench.client.response_parser import MAX_HEAD_SIZE, ResponseError

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class PipelinedParser:
    """The responses on a connection as one parser reads them: their statuses, in order.

    `is_last` tells that the server closes after the last of them, `has_begun` that a part of
    another has been received.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Prepare for the first response on a new connection.

        The last parser, and the header that it may have kept, are freed at once. A new object for
        each connection would keep them until the next run of the garbage collector, which is rare.
        """
        self._parser = httptools.HttpResponseParser(self)
        # Accepts folded values and lines that end with LF alone, like ResponseParser. The other
        # heads that ResponseParser repairs are rejected here, since no bytes are kept. The
        # leniency for folds also accepts other things; of these, on_header rejects NUL.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True
        )
        self._statuses: list[int] = []
        self._has_head = self._has_framing = False
        self._head_size = 0  # bytes of the reads that a head has filled so far
        self.has_begun = False
        self.is_last = False

    @property
    def complete(self) -> int:
        """How many responses the last call of `feed` has completed."""
        return len(self._statuses)

    def feed(self, data: bytes | memoryview) -> list[int]:
        """Parse the next bytes; return the statuses of the responses that they complete.

        Raises ResponseError for anything but HTTP/1.x responses.
        """
        self._statuses = []
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.is_last:  # bytes after the last response are ignored
                raise ResponseError(str(error)) from None
        if not self._statuses and not self._has_head:
            self._check_head_size(len(data))
        return self._statuses

    def _check_head_size(self, size: int) -> None:
        """Limit a head that a read has not ended: httptools keeps a header until it is complete."""
        self._head_size += size
        if self._head_size > MAX_HEAD_SIZE:
            raise ResponseError("a head without end")

    def finish(self) -> int:
        """Return the status of the response that the end of the connection completes, or 0."""
        # Without a length and not chunked, a body lasts until the end (RFC 9112 section 6.3).
        return self._parser.get_status_code() if self._has_head and not self._has_framing else 0

    def on_message_begin(self) -> None:
        """Note that a response begins (called by httptools)."""
        self.has_begun = True
        self._has_framing = False
        self._head_size = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header that tells the length of the body (called by httptools).

        NUL must be rejected (RFC 9110 section 5.5). It is looked for as a number: as bytes the
        search takes five times as long.
        """
        if 0 in value:
            raise ResponseError("NUL in a header")
        if not self._has_framing and name.lower() in _FRAMING:
            self._has_framing = True

    def on_headers_complete(self) -> None:
        """Note a complete head (called by httptools); 1xx is not final (RFC 9110 section 15.2)."""
        self._has_head = self._parser.get_status_code() >= 200

    def on_message_complete(self) -> None:
        """Note that a response is complete (called by httptools)."""
        self.has_begun = False
        if self._has_head:
            self._has_head = False
            self._statuses.append(self._parser.get_status_code())
            self.is_last = not self._parser.should_keep_alive()
