"""Streams as they are sent: in chunks, or with exactly the length that the head announces."""

from math import inf

from aserve.http.messages import BodyStream

_LAST_CHUNK = b"0\r\n\r\n"  # and no trailers


class FramedStream(BodyStream):
    """A stream with framing around what another stream returns."""

    __slots__ = ("_stream",)

    def __init__(self, stream: BodyStream) -> None:
        super().__init__((), may_wait=stream.may_wait)
        self._stream = stream

    def cancel(self) -> None:
        """Let a read that is under way return soon."""
        self._stream.cancel()

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()


class ChunkedStream(FramedStream):
    """A stream in chunks, one for each piece (RFC 9112 section 7.1)."""

    __slots__ = ("_has_ended",)

    def __init__(self, stream: BodyStream) -> None:
        super().__init__(stream)
        self._has_ended = False

    def read(self, until: float = inf) -> bytes | None:
        """Return the next chunk, at last the one that ends the body, then b""."""
        if self._has_ended:
            return b""
        if data := self._stream.read(until):
            return b"%x\r\n%b\r\n" % (len(data), data)
        if data is None:
            return None
        self._has_ended = True
        return _LAST_CHUNK


class SizedStream(FramedStream):
    """A stream of a known length in bytes."""

    __slots__ = ("_missing",)

    def __init__(self, stream: BodyStream, length: int) -> None:
        super().__init__(stream)
        self._missing = length

    def read(self, until: float = inf) -> bytes | None:
        """Return the next bytes. Raises ValueError for too many, and EOFError for too few."""
        data = self._stream.read(until)
        if data is None:
            return None
        self._missing -= len(data)
        if self._missing < 0:  # the client would take the rest for the next response
            raise ValueError(f"the stream is {-self._missing} bytes or more too long")
        if self._missing and not data:
            raise EOFError(f"the stream ended {self._missing} bytes early")
        return data
