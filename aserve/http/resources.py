"""What a target names: a document with its representations, or a directory."""

import sys
from hashlib import blake2b
from struct import Struct
from typing import NamedTuple, Protocol

from aserve.http.dates import EARLIEST
from aserve.http.messages import ByteSource, Request

UNKNOWN_LENGTH = sys.maxsize
"""The length of what is known to its end only when all of it has been sent."""

UNKNOWN_TIME = sys.maxsize
"""The modification time of what has none: no date is older or newer."""


NO_TAG = ""
"""Instead of an entity tag that is not known."""


class Validator(NamedTuple):
    """Distinguishes two states of one representation (RFC 9110 section 8.8).

    etag: a strong entity tag with its quotes, or NO_TAG. modified: the modification time, which
    programs can set, or UNKNOWN_TIME. changed: the change time, which no program can set. Both are
    POSIX times in whole seconds.
    """

    etag: str
    modified: int
    changed: int | None = None

    def last_modified(self, now: int) -> int | None:
        """Return the modification time, never later than now; None if it is unknown.

        A time in the future is not used (RFC 9110 section 8.8.2.1). The change time, which is when
        it was set, replaces it: that stays the same for every request, unless the clock has been
        set back behind it as well.
        """
        if self.modified <= now:
            return self.modified
        return None if self.changed is None or self.changed > now else self.changed


class Representation(NamedTuple):
    """One variant of a document: its bytes, their coding, and its own validator.

    length: in bytes, or UNKNOWN_LENGTH. The validator belongs to the representation and not to the
    URL: a file and its compressed sibling have different bytes, so they have different entity tags.
    """

    media_type: str
    length: int
    validator: Validator
    source: ByteSource
    coding: str = "identity"


class Document(NamedTuple):
    """A file: its representations, the uncoded one first.

    path: its path, if its files change only through this machine, so that responses made from it
    can be cached; b"" otherwise. absent: as in Response.absent. encoder: makes further ones for a
    request; None: there are no others. varies: whether other requests may get another one.
    """

    representations: tuple[Representation, ...]
    path: bytes = b""
    absent: tuple[bytes, ...] = ()
    encoder: "DocumentEncoder | None" = None
    varies: bool = False


class DocumentEncoder(Protocol):
    """Makes representations that are not there as files."""

    def offer(self, document: Document, request: Request) -> Document:
        """Return a document with those that a request may get.

        Raises BlockingIOError where it would have to wait, and the source must not.
        """


class DirectoryWithoutSlash(NamedTuple):
    """A directory that was requested without the slash its relative links need.

    absent: its path, at which there is no file.
    """

    absent: tuple[bytes, ...] = ()


class DirectoryWithoutIndex(NamedTuple):
    """A directory that has no index file: its entries may be listed.

    absent: the paths at which an index was looked for.
    """

    absent: tuple[bytes, ...] = ()


class Entry(NamedTuple):
    """One name in a directory and what it leads to, symbolic links followed.

    name: bytes, as POSIX file names are. size: in bytes, 0 for a directory. modified: POSIX time in
    nanoseconds. is_link: whether the name itself is a symbolic link. mode: type and permissions, as
    stat has them. changed: the change time in nanoseconds. inode: its number.
    """

    name: bytes
    is_directory: bool
    size: int
    modified: int
    is_link: bool = False
    mode: int = 0
    changed: int = 0
    inode: int = 0


Resource = Document | DirectoryWithoutSlash | DirectoryWithoutIndex

# Seconds and nanoseconds apart: in 64 bits, nanoseconds alone end in 2262.
_FILE_STATE = Struct("<qIqIQQ")
_BILLION = 1_000_000_000


def file_validator(modified: int, changed: int, inode: int, size: int) -> Validator:
    """Return what distinguishes a file's state from any other.

    Times are in nanoseconds, size in bytes. Size and modification time are not enough: container
    images give every file the same time, and two files of one size can be swapped. Inode and change
    time, which no program can set, detect that. The state is hashed so that inode numbers do not
    leak.
    """
    seconds, changed_seconds = modified // _BILLION, changed // _BILLION
    state = _FILE_STATE.pack(
        seconds, modified % _BILLION, changed_seconds, changed % _BILLION, inode, size
    )
    etag = f'"{blake2b(state, digest_size=9).hexdigest()}"'
    # Headers can only express and compare what a date can: no file is older than the year 1.
    return Validator(etag, max(EARLIEST, seconds), changed_seconds)
