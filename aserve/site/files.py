"""Where files come from: the only place that knows the operating system's errors."""

import errno
import os
import stat
from pathlib import Path as FolderPath
from typing import Protocol

from aserve.semantics.codings import CODINGS
from aserve.semantics.media import media_type
from aserve.semantics.messages import Refused
from aserve.semantics.resources import (
    Document,
    Folder,
    Representation,
    Resource,
    Validator,
    strong_etag,
)
from aserve.semantics.targets import Path
from aserve.site.beneath import locate, reopen

INDEX = b"index.html"

_REFUSALS = {
    errno.ENOENT: (404, "Nothing is here."),
    errno.ENOTDIR: (404, "Nothing is here."),
    errno.ENAMETOOLONG: (404, "Nothing is here."),
    errno.ELOOP: (404, "Nothing is here."),
    errno.EXDEV: (404, "Nothing is here."),  # a link out of the folder is no part of the site
    errno.EACCES: (403, "This file may not be read."),
    errno.EPERM: (403, "This file may not be read."),
    errno.EMFILE: (503, "Too many files are open. Try again in a moment."),
    errno.ENFILE: (503, "Too many files are open. Try again in a moment."),
    errno.ENOMEM: (503, "Memory is short. Try again in a moment."),
}

# A sibling older than this before its original holds what the original was, not what it is. A
# second is forgiven, since archives and checkouts write both in any order.
_FORGIVEN_SECONDS = 1


class Files(Protocol):
    """The smallest thing that a site can be served from."""

    def find(self, path: Path) -> Resource:
        """Return what is at a path; raises Refused where that is nothing that may be had."""


class OpenFile:
    """A file's octets on disk. The descriptor lives as long as somebody can read from it."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, start: int, stop: int) -> bytes:
        """Return the octets of [start, stop); fewer if the file has become shorter."""
        parts = []
        while start < stop and (part := os.pread(self._descriptor, stop - start, start)):
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def fileno(self) -> int:
        """Return the descriptor, which stays ours to close."""
        return self._descriptor

    def __del__(self) -> None:
        os.close(self._descriptor)


class Disk:
    """The files of a folder, asked for anew with each request: nothing is ever stale."""

    def __init__(self, root: FolderPath) -> None:
        self._root = root

    def find(self, path: Path) -> Resource:
        """Return what is at a path; raises Refused where that is nothing that may be had."""
        names = names_of(path)
        if any(map(_is_hidden, names)):
            raise Refused(404, "Nothing is here.")
        try:
            # By its name each time: a build that replaces the whole folder is seen at once.
            root = os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                return _resource(root, names, is_index=path.folder)
            finally:
                os.close(root)
        except OSError as error:
            raise _refused(error) from None


def names_of(path: Path) -> tuple[bytes, ...]:
    """Return the names of the file that answers for a path: a folder's is its index."""
    return (*path.names, INDEX) if path.folder else path.names


def _is_hidden(name: bytes) -> bool:
    """Tell whether a name is a dotfile; /.well-known/ is meant to be found (RFC 8615)."""
    return name.startswith(b".") and name != b".well-known"


def _refused(error: OSError) -> Refused:
    default = (500, "The file could not be read.")
    status, why = _REFUSALS.get(error.errno or 0, default)
    return Refused(status, why, (("Retry-After", "1"),) if status == 503 else ())


def _resource(root: int, names: tuple[bytes, ...], *, is_index: bool) -> Resource:
    located = locate(root, names)
    try:
        status = os.fstat(located)
        if stat.S_ISDIR(status.st_mode) and not is_index:
            return Folder()
        if not stat.S_ISREG(status.st_mode):  # a FIFO, a device or a socket is not even opened
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        plain = _representation(reopen(located), names[-1], "identity")
    finally:
        os.close(located)
    return Document((plain, *_siblings(root, names, plain)))


def _representation(descriptor: int, name: bytes, coding: str) -> Representation:
    content = OpenFile(descriptor)
    status = os.fstat(descriptor)
    etag = strong_etag(status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)
    validator = Validator(etag, status.st_mtime_ns // 1_000_000_000)
    return Representation(media_type(name), status.st_size, validator, content, coding)


def _siblings(root: int, names: tuple[bytes, ...], plain: Representation) -> list[Representation]:
    """Return the precompressed forms that lie beside a file, under the same rules as itself."""
    siblings = []
    for coding, suffix in CODINGS.items():
        try:
            located = locate(root, (*names[:-1], names[-1] + suffix))
            try:
                if stat.S_ISREG(os.fstat(located).st_mode):
                    siblings.append(_representation(reopen(located), names[-1], coding))
            finally:
                os.close(located)
        except OSError as error:
            # That there is none is a fact; that descriptors are short must not look like it.
            if _refused(error).status not in {403, 404}:
                raise
    oldest = plain.validator.modified - _FORGIVEN_SECONDS
    return [one for one in siblings if one.validator.modified >= oldest]
