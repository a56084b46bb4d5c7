"""What a target names: a document in one or more representations, or a folder without its slash."""

from hashlib import blake2b
from struct import Struct
from typing import NamedTuple

from aserve.semantics.messages import Content


class Validator(NamedTuple):
    """What tells two states of one representation apart (RFC 9110 section 8.8).

    etag: a strong entity tag with its quotes; modified: POSIX time in whole seconds.
    """

    etag: str
    modified: int


class Representation(NamedTuple):
    """One form of a document: its octets, how they are coded, and its own validator.

    keepable: nobody changes it but through this machine, so that what was said of it can be kept.
    The validator belongs to the representation and not to the URL: a file and its compressed
    sibling are different octets, so they have different entity tags.
    """

    media_type: str
    length: int
    validator: Validator
    content: Content
    coding: str = "identity"
    keepable: bool = False


class Document(NamedTuple):
    """A file: its representations, the uncoded one first."""

    representations: tuple[Representation, ...]


class Folder(NamedTuple):
    """A folder that was asked for without the slash its relative links need."""


Resource = Document | Folder

_STATE = Struct("<qqQQ")


def strong_etag(modified: int, changed: int, inode: int, size: int) -> str:
    """Return a strong entity tag of what identifies a file's state; times in nanoseconds.

    Size and modification time alone lie: container images give every file one time, and two files
    of one length can be swapped within it. Inode and change time, which no program can set, see
    that. Hashed, because an inode number is nobody's business.
    """
    state = _STATE.pack(modified, changed, inode, size)
    return f'"{blake2b(state, digest_size=9).hexdigest()}"'
