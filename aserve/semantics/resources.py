"""What a target names: a document in one or more representations, or a folder without its slash."""

from dataclasses import dataclass
from hashlib import blake2b

from aserve.semantics.messages import Content


@dataclass(frozen=True, slots=True)
class Validator:
    """What tells two states of one representation apart (RFC 9110 section 8.8).

    etag: a strong entity tag with its quotes; modified: POSIX time in whole seconds.
    """

    etag: str
    modified: int


@dataclass(frozen=True, slots=True)
class Representation:
    """One form of a document: its octets, how they are coded, and its own validator.

    The validator belongs to the representation and not to the URL: a file and its compressed
    sibling are different octets, so they have different entity tags.
    """

    media_type: str
    length: int
    validator: Validator
    content: Content
    coding: str = "identity"


@dataclass(frozen=True, slots=True)
class Document:
    """A file: its representations, the uncoded one first."""

    representations: tuple[Representation, ...]


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that was asked for without the slash its relative links need."""


Resource = Document | Folder


def strong_etag(*identity: int) -> str:
    """Return a strong entity tag of what identifies a file's state.

    Size and modification time alone lie: container images give every file one time, and two files
    of one length can be swapped within it. Inode and change time, which no program can set, see
    that. Hashed, because an inode number is nobody's business.
    """
    state = b"-".join(b"%x" % number for number in identity)
    return f'"{blake2b(state, digest_size=9).hexdigest()}"'
