"""What a target names: a document in one or more representations, or a folder without its slash."""

from hashlib import blake2b
from struct import Struct
from typing import NamedTuple

from aserve.http.messages import ByteSource


class Validator(NamedTuple):
    """What tells two states of one representation apart (RFC 9110 section 8.8).

    etag: a strong entity tag with its quotes; modified, changed: POSIX times in whole seconds, of
    the content by what was set, and of the file by the clock, which no program can set.
    """

    etag: str
    modified: int
    changed: int | None = None

    def last_modified(self, now: int) -> int | None:
        """Return when this was last modified, never later than now; None where nothing tells.

        A time in the future is none (RFC 9110 section 8.8.2.1). When it was set is known, and is
        the same each time it is asked for, unless the clock was set back behind that, too.
        """
        if self.modified <= now:
            return self.modified
        return None if self.changed is None or self.changed > now else self.changed


class Representation(NamedTuple):
    """One form of a document: its octets, how they are coded, and its own validator.

    keepable: nobody changes it but through this machine, so that what was said of it can be kept.
    The validator belongs to the representation and not to the URL: a file and its compressed
    sibling are different octets, so they have different entity tags.
    """

    media_type: str
    length: int
    validator: Validator
    source: ByteSource
    coding: str = "identity"
    cacheable: bool = False


class Document(NamedTuple):
    """A file: its representations, the uncoded one first."""

    representations: tuple[Representation, ...]


class DirectoryWithoutSlash(NamedTuple):
    """A folder that was asked for without the slash its relative links need."""


Resource = Document | DirectoryWithoutSlash

_STATE = Struct(
    "<qIqIQQ"
)  # nanoseconds beside 64 bits of seconds: file systems know more than 2262
_BILLION = 1_000_000_000


def strong_etag(modified: int, changed: int, inode: int, size: int) -> str:
    """Return a strong entity tag of what identifies a file's state; times in nanoseconds.

    Size and modification time alone lie: container images give every file one time, and two files
    of one length can be swapped within it. Inode and change time, which no program can set, see
    that. Hashed, because an inode number is nobody's business.
    """
    times = (*divmod(modified, _BILLION), *divmod(changed, _BILLION))
    state = _STATE.pack(*times, inode, size)
    return f'"{blake2b(state, digest_size=9).hexdigest()}"'
