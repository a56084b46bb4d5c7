"""An archive before it is made: where each of its bytes is follows from its members alone."""

from abc import ABC, abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from struct import Struct
from time import monotonic
from typing import Any, NamedTuple, Protocol

from aserve.filesystem.packed import BILLION, Packed
from aserve.filesystem.steps import in_steps

PIECE_SIZE = 262_144
"""Bytes that are read from a file, and sent, at once."""

_FILES_PER_STEP = 8
"""Small files that are read without a look at the clock: about half a millisecond."""


class Member(NamedTuple):
    """A file or a directory in an archive.

    path: its names with slashes between them; that of a directory ends with one. size: bytes of its
    content. modified: POSIX time in nanoseconds. mode: permissions. state: the entity tag of the
    file in the state that the archive is made for, "" for what is no file.
    """

    path: bytes
    size: int = 0
    modified: int = 0
    mode: int = 0o644
    state: str = ""

    @property
    def is_directory(self) -> bool:
        """Whether this is a directory."""
        return self.path.endswith(b"/")


class PackedMembers(Packed[Member]):
    """The members of an archive, at 51 bytes and the path each."""

    facts = Struct("<QqIHB")  # size, modified in two parts, mode, length of the state

    def _split(self, value: Member) -> tuple[bytes, tuple[Any, ...]]:
        path, size, modified, mode, state = value
        end = state.encode()
        return path + end, (size, *divmod(modified, BILLION), mode, len(end))

    def _join(self, text: bytes, facts: tuple[Any, ...]) -> Member:
        size, seconds, fraction, mode, end = facts
        length = len(text) - end
        state = text[length:].decode()
        return Member(text[:length], size, seconds * BILLION + fraction, mode, state)


class Contents(Protocol):
    """The contents of the members of an archive, by their indexes."""

    def read(self, index: int, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes [start, stop) in pieces of at most PIECE_SIZE.

        Where stop is the end, the checksum is known afterwards; for each piece that is read for it
        alone, b"" is yielded. Raises OSError unless the bytes are those of the state that the
        archive is made for.
        """

    def has_checksum(self, index: int) -> bool:
        """Tell whether the checksum is known, so that nothing must be read for it."""

    def checksum(self, index: int) -> int:
        """Return the CRC-32 of the whole content, which is known."""


class Layout(ABC):
    """The bytes of an archive: for each member a head, its content and a tail, then a trailer.

    The size of each is known without reading a content, so any range can be made by itself.
    """

    has_checksums = False
    """Whether the archive has a checksum of each content."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members
        sizes = map(self._size, in_steps(members))
        self._offsets = array("Q", accumulate(sizes, initial=0))
        self._end = self._offsets[-1]  # where the trailer begins

    @property
    @abstractmethod
    def length(self) -> int:
        """The size of the archive in bytes."""

    @abstractmethod
    def _size(self, member: Member) -> int:
        """Return the size of a member with its head and tail."""

    @abstractmethod
    def _head(self, member: Member) -> bytes:
        """Return what precedes a member's content."""

    @abstractmethod
    def _tail(self, index: int, contents: Contents) -> bytes:
        """Return what follows a member's content."""

    @abstractmethod
    def _trailer(self, contents: Contents, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes [start, stop) of the trailer; these may exceed it on both sides."""

    def pieces(self, contents: Contents, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes [start, stop) of the archive, in pieces of about PIECE_SIZE.

        Raises OSError where a content is no longer what the archive is made for.
        """
        return _join_small(self._pieces(contents, start, stop))

    def _pieces(self, contents: Contents, start: int, stop: int) -> Iterator[bytes]:
        first = bisect_right(self._offsets, start) - 1
        for index in in_steps(range(first, len(self._members)), _FILES_PER_STEP, monotonic):
            offset = self._offsets[index]
            if offset >= stop:
                return
            yield from self._member_pieces(contents, index, start - offset, stop - offset)
        yield from self._trailer(contents, start - self._end, stop - self._end)

    def _member_pieces(
        self, contents: Contents, index: int, start: int, stop: int
    ) -> Iterator[bytes]:
        member = self._members[index]
        head, size = self._head(member), member.size
        yield from clip(head, start, stop)
        start, stop = start - len(head), stop - len(head)
        first, last = max(start, 0), min(stop, size)
        if first < last:
            yield from contents.read(index, first, last)
        if stop > size:
            yield from self._await_checksum(index, contents)
            yield from clip(self._tail(index, contents), start - size, stop - size)

    def _await_checksum(self, index: int, contents: Contents) -> Iterator[bytes]:
        """Make a checksum known that is needed next; yield b"" for each piece read for it."""
        size = self._members[index].size
        if self.has_checksums and size and not contents.has_checksum(index):
            yield from contents.read(index, size, size)


def clip(data: bytes, start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes [start, stop) of data, if there are any; these may exceed it."""
    if part := data[max(start, 0) : max(stop, 0)]:
        yield part


def is_utf_8(path: bytes) -> bool:
    """Tell whether a path is text in UTF-8, as nearly all are."""
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True


def _join_small(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Join pieces until they have PIECE_SIZE; an empty one passes on what there is.

    For each piece a thread is waited for: one for each small file would take most of the time.
    """
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= PIECE_SIZE or not piece:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)
