"""Where files come from: the only place that knows the operating system's errors."""

import errno
import os
import re
import stat
import time
from pathlib import Path as FolderPath
from typing import Protocol

from aserve.filesystem.mounts import ChangeTracking, Mounts
from aserve.filesystem.open_beneath import device_of, open_beneath, open_directory
from aserve.http.content_negotiation import CODINGS
from aserve.http.dates import EARLIEST
from aserve.http.error_pages import TOO_MANY_FILES
from aserve.http.media_types import MediaTypes
from aserve.http.messages import HttpError
from aserve.http.request_target import TargetPath
from aserve.http.resources import (
    DirectoryWithoutSlash,
    Document,
    Representation,
    Resource,
    Validator,
    strong_etag,
)
from aserve.linux.cachestat import is_cached

INDEX_NAME = b"index.html"

_ERRORS = {
    errno.ENOENT: (404, "Nothing is here."),
    errno.ENOTDIR: (404, "Nothing is here."),
    errno.ENAMETOOLONG: (404, "Nothing is here."),
    errno.ELOOP: (404, "Nothing is here."),
    errno.ENXIO: (404, "Nothing is here."),  # a socket
    errno.ENODEV: (404, "Nothing is here."),  # a device that nobody drives
    errno.EXDEV: (404, "Nothing is here."),  # a link out of the folder is no part of the site
    errno.EACCES: (403, "This file may not be read."),
    errno.EPERM: (403, "This file may not be read."),
    errno.EMFILE: (TOO_MANY_FILES.status, TOO_MANY_FILES.detail),
    errno.ENFILE: (TOO_MANY_FILES.status, TOO_MANY_FILES.detail),
    errno.ENOMEM: (503, "Memory is short. Try again in a moment."),
}

_RESIDENT_S = 0.01  # seconds that what is in memory is taken to stay there

# A sibling older than this before its original holds what the original was, not what it is. A
# second is forgiven, since archives and checkouts write both in any order.
_SIBLING_TOLERANCE_S = 1


class FileSystem(Protocol):
    """The smallest thing that a site can be served from."""

    def find(self, path: TargetPath, *, wait: bool) -> Resource:
        """Return what is at a path; raises Refused where that is nothing that may be had.

        Raises BlockingIOError where wait is False and a disk would have to be waited for; the same
        then holds for reading what was found.
        """


class OpenFile:
    """A file's octets on disk. The descriptor lives as long as somebody can read from it.

    wait: whether reading may wait for the disk; local: whether nothing but a disk is waited for.
    """

    __slots__ = (
        "_descriptor",
        "_resident",
        "_status",
        "_wait",
        "is_local",
    )

    def __init__(self, descriptor: int, status: os.stat_result, *, wait: bool, local: bool) -> None:
        self._descriptor = descriptor
        self._status = status  # of which the entity tag was made
        self._wait = wait
        self._resident = 0, 0, 0.0  # octets from here to there in memory, when: monotonic seconds
        self.is_local = local

    def read(self, start: int, stop: int) -> bytes:
        """Return the octets of [start, stop); fewer if the file has become shorter.

        Raises BlockingIOError where wait is False and not all of them are in memory.
        """
        if not self._wait:
            return self._read_at_once(start, stop)
        parts = []
        while start < stop and (part := os.pread(self._descriptor, stop - start, start)):
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_at_once(self, start: int, stop: int) -> bytes:
        octets = bytearray(stop - start)
        try:
            if os.preadv(self._descriptor, [octets], start, os.RWF_NOWAIT) == len(octets):
                return bytes(octets)
        except (OSError, AttributeError):
            pass  # EAGAIN; a file system that does not know the flag, or a Python without it
        raise BlockingIOError  # a file that has become shorter is found out by who may wait

    def is_in_page_cache(self, start: int, stop: int) -> bool:
        """Tell whether the octets of [start, stop) can be had without waiting.

        The kernel is not asked again at once: it takes longest unused pages first, and to ask is
        a call by ctypes.
        """
        first, last, asked = self._resident
        now = time.monotonic()
        if first <= start and stop <= last and now - asked < _RESIDENT_S:
            return True
        if not (self.is_local and is_cached(self._descriptor, start, stop)):
            return False
        self._resident = start, stop, now
        return True

    def is_unchanged(self) -> bool:
        """Tell whether the file is still there, in the state that its entity tag was made of."""
        try:
            now, was = os.fstat(self._descriptor), self._status
        except OSError:
            return False
        return (
            now.st_mtime_ns == was.st_mtime_ns
            and now.st_ctime_ns == was.st_ctime_ns
            and now.st_size == was.st_size
            and now.st_nlink > 0
        )

    def fileno(self) -> int:
        """Return the descriptor, which stays ours to close."""
        return self._descriptor

    def close(self) -> None:
        """Close the file before its time; more than once is harmless."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    __del__ = close


class Directory:
    """The files of a folder, asked for anew with each request: nothing is ever stale."""

    def __init__(
        self,
        root: FolderPath,
        mounts: Mounts | None = None,
        media_types: MediaTypes | None = None,
    ) -> None:
        self._root = os.fsencode(root)
        self._mounts = mounts or Mounts()
        self._media_types = media_types or MediaTypes()

    def find(self, path: TargetPath, *, wait: bool) -> Resource:
        """Return what is at a path; raises Refused where that is nothing that may be had.

        Raises BlockingIOError where wait is False and a disk would have to be waited for.
        """
        names = file_segments(path)
        name = b"/".join(names)
        if _HIDDEN.search(name):
            raise HttpError(404, "Nothing is here.")
        try:
            # By its name each time: a build that replaces the whole folder is seen at once.
            root = open_directory(self._root, wait=wait)
            try:
                if not wait and self._mounts.tracking_of(device_of(root)) is ChangeTracking.NONE:
                    raise BlockingIOError  # what a network or another program does takes time
                finder = _ResourceLookup(root, self._mounts, self._media_types, wait=wait)
                return finder.resource(name, names[-1], is_index=path.is_directory)
            finally:
                os.close(root)
        except OSError as error:
            if not wait and isinstance(error, BlockingIOError):
                raise
            raise _http_error(error) from None


def file_segments(path: TargetPath) -> tuple[bytes, ...]:
    """Return the names of the file that answers for a path: a folder's is its index."""
    return (*path.segments, INDEX_NAME) if path.is_directory else path.segments


# A dotfile, or something below a dotted folder; /.well-known/ is meant to be found (RFC 8615).
_HIDDEN = re.compile(rb"(?:^|/)\.(?!well-known(?:/|\Z))")


def _http_error(error: OSError) -> HttpError:
    default = (500, "The file could not be read.")
    status, why = _ERRORS.get(error.errno or 0, default)
    return HttpError(status, why)


class _ResourceLookup:
    """Finds what is below a folder that is open."""

    __slots__ = (
        "_media_types",
        "_mounts",
        "_root",
        "_wait",
    )

    def __init__(self, root: int, mounts: Mounts, media: MediaTypes, *, wait: bool) -> None:
        self._root = root
        self._mounts = mounts
        self._media_types = media
        self._wait = wait

    def resource(self, path: bytes, name: bytes, *, is_index: bool) -> Resource:
        found = self._open(path)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        content, status = found
        if stat.S_ISDIR(status.st_mode) and not is_index:
            return DirectoryWithoutSlash()
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        plain = _representation(content, status, *self._media_types.for_name(name))
        # What is compressed by itself is not looked for in another compressed form.
        siblings = self._siblings(path, plain) if plain.coding == "identity" else []
        if not siblings:
            return Document((plain,))
        keepable = plain.cacheable and all(one.cacheable for one in siblings)
        return Document(tuple(one._replace(cacheable=keepable) for one in (plain, *siblings)))

    def _siblings(self, path: bytes, plain: Representation) -> list[Representation]:
        """Return the precompressed forms that lie beside a file, under the same rules as itself."""
        siblings = []
        oldest = plain.validator.modified - _SIBLING_TOLERANCE_S
        for coding, suffix in CODINGS.items():
            try:
                found = self._open(path + suffix)
            except OSError as error:
                # That there is none is a fact; that nobody can tell must not look like it.
                if _http_error(error).status not in {403, 404}:
                    raise
                continue
            if found and _is_valid_sibling(plain, found[1], oldest):
                siblings.append(_representation(*found, plain.media_type, coding))
        return siblings

    def _open(self, path: bytes) -> tuple[OpenFile, os.stat_result] | None:
        descriptor = open_beneath(self._root, path, wait=self._wait)
        if descriptor is None:
            return None
        try:
            status = os.fstat(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        local = self._mounts.tracking_of(status.st_dev) is not ChangeTracking.NONE
        return OpenFile(descriptor, status, wait=self._wait, local=local), status


def _is_valid_sibling(plain: Representation, sibling: os.stat_result, oldest: int) -> bool:
    """Tell whether what lies beside a file can be that file, compressed.

    Nothing that compresses makes nothing of something: an empty one is left of a broken build, or
    about to be written.
    """
    is_written = sibling.st_size > 0 or plain.length == 0
    return stat.S_ISREG(sibling.st_mode) and sibling.st_mtime >= oldest and is_written


def _representation(
    content: OpenFile, status: os.stat_result, media: str, coding: str
) -> Representation:
    etag = strong_etag(status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)
    # What a header can say and compare is what a date can say: no file is older than the year 1.
    modified = max(status.st_mtime_ns // 1_000_000_000, EARLIEST)
    validator = Validator(etag, modified, status.st_ctime_ns // 1_000_000_000)
    return Representation(media, status.st_size, validator, content, coding, content.is_local)
