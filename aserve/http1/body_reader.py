"""Request bodies as framed on the wire: by length or in chunks (RFC 9112 sections 6 and 7)."""

import enum
import re
from collections.abc import Callable
from typing import Protocol

from aserve.http.integers import MAX_INTEGER, parse_hexadecimal
from aserve.http.messages import HttpError

OnData = Callable[[bytes], None]

_NAME = r"[\w!#$%&'*+.^`|~-]+"
_QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_CHUNK_LINE = re.compile(
    rf"0*(?P<size>[0-9A-Fa-f]{{1,16}})"
    rf"(?:[ \t]*;[ \t]*{_NAME}(?:[ \t]*=[ \t]*(?:{_NAME}|{_QUOTED}))?)*\r\n".encode("latin-1"),
    re.ASCII,
)
_TRAILER_LINE = re.compile(rf"{_NAME}:[\t \x21-\x7e\x80-\xff]*\r\n".encode("latin-1"), re.ASCII)


_PLAIN_LINE_SIZE = 18  # bytes: sixteen digits and CR LF
_MAX_STEPS = 512  # lines and runs of data read in one call: about a millisecond


class BodyReader(Protocol):
    """Finds the end of a body. Its bytes are discarded unless on_data is given.

    on_data: gets the bytes of the body, without what frames them.
    """

    @property
    def complete(self) -> bool:
        """Whether the last byte has been read."""

    @property
    def is_paused(self) -> bool:
        """Whether consume stopped to give other connections a turn, not for lack of input."""

    def consume(self, data: bytes, start: int) -> int:
        """Return the position in data up to which the body was read. Raises HttpError."""


class LengthReader:
    """Reads a body of a known length in bytes."""

    __slots__ = (
        "_on_data",
        "remaining",
    )

    is_paused = False

    def __init__(self, length: int, on_data: OnData | None = None) -> None:
        self.remaining = length
        """Bytes that were not read yet."""
        self._on_data = on_data

    @property
    def complete(self) -> bool:
        """Whether the last byte has been read."""
        return self.remaining == 0

    def consume(self, data: bytes, start: int) -> int:
        """Return the position in data up to which the body was read."""
        size = min(self.remaining, len(data) - start)
        self.remaining -= size
        if self._on_data and size:
            self._on_data(data[start : start + size])
        return start + size


class _Phase(enum.IntEnum):
    SIZE = enum.auto()
    DATA = enum.auto()
    DATA_END = enum.auto()
    TRAILER = enum.auto()
    COMPLETE = enum.auto()


class ChunkedReader:
    """Reads a chunked body (RFC 9112 section 7.1); extensions and trailers are discarded.

    limit: bytes of data in total. overhead: bytes of trailers, and of chunk lines beyond the size
    of a plain one, so that no client can wrap a small body in endless extensions.
    """

    __slots__ = (
        "_data_left",
        "_on_data",
        "_overhead_left",
        "_phase",
        "_remaining",
        "is_paused",
    )

    def __init__(self, limit: int, overhead: int, on_data: OnData | None = None) -> None:
        self._on_data = on_data
        self._phase = _Phase.SIZE
        self._remaining = 0
        self._data_left = limit
        self._overhead_left = overhead
        self.is_paused = False

    @property
    def complete(self) -> bool:
        """Whether the empty line after the last chunk has been read."""
        return self._phase is _Phase.COMPLETE

    def consume(self, data: bytes, start: int) -> int:
        """Return the position in data up to which the body was read; the rest needs more input.

        Pauses after a bounded number of steps: a megabyte in chunks of one byte takes two seconds
        to read, and the caller has other connections.
        """
        for _ in range(_MAX_STEPS):
            end = start if self.complete else self._step(data, start)
            if end == start:
                self.is_paused = False
                return start
            start = end
        self.is_paused = not self.complete  # the caller asks no more about a complete body
        return start

    def _step(self, data: bytes, start: int) -> int:
        if self._phase is _Phase.DATA:
            return self._consume_data(data, start)
        if self._phase is _Phase.DATA_END:
            return self._consume_data_end(data, start)
        end = data.find(b"\n", start)
        # The same limit for a whole line and for a partial one: how it arrives makes no difference.
        self._check_overhead((end if end >= 0 else len(data)) - start - _PLAIN_LINE_SIZE)
        if end < 0:
            return start
        line = data[start : end + 1]
        if self._phase is _Phase.SIZE:
            self._parse_size(line)
        else:
            self._parse_trailer(line)
        return end + 1

    def _parse_size(self, line: bytes) -> None:
        match = _CHUNK_LINE.fullmatch(line)
        if not match:
            raise HttpError(400, "A chunk's size line is malformed.")
        self._use_overhead(len(line) - _PLAIN_LINE_SIZE)
        size = parse_hexadecimal(match["size"].decode())
        self._remaining = MAX_INTEGER if size is None else size
        self._data_left -= self._remaining
        if self._data_left < 0:
            raise HttpError(413, "The request body is too large.")
        self._phase = _Phase.DATA if self._remaining else _Phase.TRAILER

    def _consume_data(self, data: bytes, start: int) -> int:
        size = min(self._remaining, len(data) - start)
        self._remaining -= size
        if not self._remaining:
            self._phase = _Phase.DATA_END
        if self._on_data and size:
            self._on_data(data[start : start + size])
        return start + size

    def _consume_data_end(self, data: bytes, start: int) -> int:
        ending = data[start : start + 2]
        if not b"\r\n".startswith(ending):
            raise HttpError(400, "A chunk's data is longer than its size.")
        if len(ending) < 2:
            return start
        self._phase = _Phase.SIZE
        return start + 2

    def _parse_trailer(self, line: bytes) -> None:
        if line == b"\r\n":
            self._phase = _Phase.COMPLETE
            return
        if not _TRAILER_LINE.fullmatch(line):
            raise HttpError(400, "A trailer is malformed.")
        self._use_overhead(len(line))

    def _use_overhead(self, size: int) -> None:
        self._check_overhead(size)
        self._overhead_left -= max(0, size)

    def _check_overhead(self, size: int) -> None:
        if size > self._overhead_left:
            raise HttpError(431, "The chunk extensions or trailers are too large.")
