"""The content of a request as it is framed on the wire: by length, or in chunks (RFC 9112 6, 7)."""

import enum
import re
from typing import Protocol

from aserve.http.integers import MAX_INTEGER, parse_hexadecimal
from aserve.http.messages import HttpError

_NAME = r"[\w!#$%&'*+.^`|~-]+"
_QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_CHUNK_LINE = re.compile(
    rf"0*(?P<size>[0-9A-Fa-f]{{1,16}})"
    rf"(?:[ \t]*;[ \t]*{_NAME}(?:[ \t]*=[ \t]*(?:{_NAME}|{_QUOTED}))?)*\r\n".encode("latin-1"),
    re.ASCII,
)
_TRAILER_LINE = re.compile(rf"{_NAME}:[\t \x21-\x7e\x80-\xff]*\r\n".encode("latin-1"), re.ASCII)


_PLAIN_LINE = 18  # octets: sixteen digits and the line's end
_MAX_STEPS = 512  # lines and pieces of data read in one call: about a millisecond


class BodyReader(Protocol):
    """Tells where content ends. It is read past, since nothing here stores any yet."""

    @property
    def complete(self) -> bool:
        """Whether the last octet has been seen."""

    @property
    def is_paused(self) -> bool:
        """Whether consume stopped to let other connections go on, and not for want of input."""

    def consume(self, octets: bytes, start: int) -> int:
        """Return the position up to which octets are content; raises Refused."""


class LengthReader:
    """Content of a known length."""

    __slots__ = ("_missing",)

    is_paused = False

    def __init__(self, length: int) -> None:
        self._missing = length

    @property
    def complete(self) -> bool:
        """Whether the last octet has been seen."""
        return self._missing == 0

    def consume(self, octets: bytes, start: int) -> int:
        """Return the position up to which octets are content."""
        taken = min(self._missing, len(octets) - start)
        self._missing -= taken
        return start + taken


class _Phase(enum.IntEnum):
    SIZE = enum.auto()
    DATA = enum.auto()
    DATA_END = enum.auto()
    TRAILER = enum.auto()
    COMPLETE = enum.auto()


class ChunkedReader:
    """Content in chunks (RFC 9112 section 7.1), its extensions and trailers read past.

    limit: octets of data in all; overhead: octets of trailers, and of chunk lines beyond what a
    plain one has, so that no sender can dress a small content in endless extensions.
    """

    __slots__ = (
        "_data_left",
        "_missing",
        "_overhead_left",
        "_phase",
        "is_paused",
    )

    def __init__(self, limit: int, overhead: int) -> None:
        self._phase = _Phase.SIZE
        self._missing = 0
        self._data_left = limit
        self._overhead_left = overhead
        self.is_paused = False

    @property
    def complete(self) -> bool:
        """Whether the empty line behind the last chunk has been seen."""
        return self._phase is _Phase.COMPLETE

    def consume(self, octets: bytes, start: int) -> int:
        """Return the position up to which octets are content; what is left needs more to tell.

        After a bounded number of steps it halts. One megabyte in chunks of one byte takes two
        seconds to read, and whoever calls has other connections.
        """
        for _ in range(_MAX_STEPS):
            end = start if self.complete else self._step(octets, start)
            if end == start:
                self.is_paused = False
                return start
            start = end
        self.is_paused = True
        return start

    def _step(self, octets: bytes, start: int) -> int:
        if self._phase is _Phase.DATA:
            return self._data(octets, start)
        if self._phase is _Phase.DATA_END:
            return self._data_end(octets, start)
        end = octets.find(b"\n", start)
        # In whole or in part, the same length is too long: how it arrives makes no difference.
        self._require_room((end if end >= 0 else len(octets)) - start - _PLAIN_LINE)
        if end < 0:
            return start
        line = octets[start : end + 1]
        if self._phase is _Phase.SIZE:
            self._size(line)
        else:
            self._trailer(line)
        return end + 1

    def _size(self, line: bytes) -> None:
        found = _CHUNK_LINE.fullmatch(line)
        if not found:
            raise HttpError(400, "A chunk's size line is malformed.")
        self._spend(len(line) - _PLAIN_LINE)
        size = parse_hexadecimal(found["size"].decode())
        self._missing = MAX_INTEGER if size is None else size
        self._data_left -= self._missing
        if self._data_left < 0:
            raise HttpError(413, "The content of the request is too large.")
        self._phase = _Phase.DATA if self._missing else _Phase.TRAILER

    def _data(self, octets: bytes, start: int) -> int:
        taken = min(self._missing, len(octets) - start)
        self._missing -= taken
        if not self._missing:
            self._phase = _Phase.DATA_END
        return start + taken

    def _data_end(self, octets: bytes, start: int) -> int:
        ending = octets[start : start + 2]
        if not b"\r\n".startswith(ending):
            raise HttpError(400, "A chunk's data is longer than its size.")
        if len(ending) < 2:
            return start
        self._phase = _Phase.SIZE
        return start + 2

    def _trailer(self, line: bytes) -> None:
        if line == b"\r\n":
            self._phase = _Phase.COMPLETE
            return
        if not _TRAILER_LINE.fullmatch(line):
            raise HttpError(400, "A trailer field is malformed.")
        self._spend(len(line))

    def _spend(self, octets: int) -> None:
        self._require_room(octets)
        self._overhead_left -= max(0, octets)

    def _require_room(self, octets: int) -> None:
        if octets > self._overhead_left:
            raise HttpError(431, "The chunk extensions or trailers are too large.")
