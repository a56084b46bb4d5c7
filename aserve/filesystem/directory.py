"""The files of a site: the only module that translates the operating system's errors."""

import errno
import os
import re
import stat
import time
from operator import attrgetter
from pathlib import Path
from typing import Protocol

from aserve.filesystem.mounts import ChangeTracking, Mounts
from aserve.filesystem.open_beneath import open_beneath, open_directory
from aserve.filesystem.watched_directories import WatchedDirectories, WatchedDirectory
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
from aserve.linux.statx import file_id

INDEX_NAME = b"index.html"

_ERRORS = {
    errno.ENOENT: (404, "Nothing is here."),
    errno.ENOTDIR: (404, "Nothing is here."),
    errno.ENAMETOOLONG: (404, "Nothing is here."),
    errno.ELOOP: (404, "Nothing is here."),
    errno.ENXIO: (404, "Nothing is here."),  # a socket
    errno.ENODEV: (404, "Nothing is here."),  # a device without a driver
    errno.EXDEV: (404, "Nothing is here."),  # a link out of the directory is no part of the site
    errno.EACCES: (403, "This file may not be read."),
    errno.EPERM: (403, "This file may not be read."),
    errno.EMFILE: (TOO_MANY_FILES.status, TOO_MANY_FILES.detail),
    errno.ENFILE: (TOO_MANY_FILES.status, TOO_MANY_FILES.detail),
    errno.ENOMEM: (503, "Memory is short. Try again in a moment."),
}

_is_local = attrgetter("source.is_local")

_RESIDENT_S = 0.01  # seconds for which a part of a file counts as in memory without asking again

# A sibling that is older than its original was made of an earlier version of it. A second is
# tolerated, since archives and checkouts write the two in any order.
_SIBLING_TOLERANCE_S = 1


class FileSystem(Protocol):
    """The smallest interface that a site can be served from."""

    def find(self, path: TargetPath, *, wait: bool) -> Resource:
        """Return the resource at a path; raises HttpError where there is none to be served.

        Raises BlockingIOError where wait is False and the call would have to wait for a disk.
        Reading the resource then does the same.
        """


class OpenFile:
    """A file on disk. Its descriptor stays open as long as this object is referenced.

    wait: whether reading may wait for the disk; local: whether it is only a disk that reading waits
    for, and no network.
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
        self._status = status  # which the entity tag was made of
        self._wait = wait
        self._resident = 0, 0, 0.0  # start, stop of bytes in memory; when, in monotonic seconds
        self.is_local = local

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes [start, stop); fewer if the file has become shorter.

        Raises BlockingIOError where wait is False and not all of them are in memory.
        """
        if not self._wait:
            return self._read_nowait(start, stop)
        parts = []
        while start < stop and (part := os.pread(self._descriptor, stop - start, start)):
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_nowait(self, start: int, stop: int) -> bytes:
        buffer = bytearray(stop - start)
        try:
            if os.preadv(self._descriptor, [buffer], start, os.RWF_NOWAIT) == len(buffer):
                return bytes(buffer)
        except (OSError, AttributeError):
            pass  # EAGAIN; a file system that does not know the flag, or a Python without it
        raise BlockingIOError  # if the file has become shorter, a thread that may wait finds out

    def is_in_page_cache(self, start: int, stop: int) -> bool:
        """Tell whether the bytes [start, stop) can be read without waiting.

        The kernel is not asked again within _RESIDENT_S: it evicts the least recently used pages
        first, and asking costs a call through ctypes.
        """
        first, last, checked_at = self._resident
        now = time.monotonic()
        if first <= start and stop <= last and now - checked_at < _RESIDENT_S:
            return True
        if not (self.is_local and is_cached(self._descriptor, start, stop)):
            return False
        self._resident = start, stop, now
        return True

    def is_unchanged(self) -> bool:
        """Tell whether the file still exists, in the state that its entity tag was made of."""
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
        """Return the descriptor, which this object still closes."""
        return self._descriptor

    def close(self) -> None:
        """Close the file early; closing twice does no harm."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            try:  # noqa: SIM105 - suppress costs three calls
                os.close(descriptor)
            except InterruptedError:  # it is closed all the same: close(2)
                pass

    __del__ = close


class Directory:
    """The files of a directory, looked up with each request: nothing is ever stale.

    directories: those that know their names, for look-ups that must not wait. Those are made on
    the event loop's thread alone.
    """

    def __init__(
        self,
        root: Path,
        mounts: Mounts | None = None,
        media_types: MediaTypes | None = None,
        directories: WatchedDirectories | None = None,
    ) -> None:
        self._root = os.fsencode(root)
        self._mounts = mounts or Mounts()
        self._media_types = media_types or MediaTypes()
        self._directories = directories

    def find(self, path: TargetPath, *, wait: bool) -> Resource:
        """Return the resource at a path; raises HttpError where there is none to be served.

        Raises BlockingIOError where wait is False and the call would have to wait for a disk.
        """
        names = file_segments(path)
        name = b"/".join(names)
        if _HIDDEN.search(name):
            raise HttpError(404, "Nothing is here.")
        try:
            # By its name each time: a build that replaces the whole directory is seen at once.
            root = open_directory(self._root, wait=wait)
            try:
                lookup = _ResourceLookup(
                    root, self._root, self._mounts, self._media_types, wait=wait
                )
                if not wait:
                    root_id = file_id(root)
                    if self._mounts.tracking_of(root_id[0]) is ChangeTracking.NONE:
                        raise BlockingIOError  # a network, or another program (FUSE), takes time
                    lookup.directories, lookup.root_id = self._directories, root_id
                return lookup.resource(name, names[-1], is_index=path.is_directory)
            finally:
                os.close(root)
        except InterruptedError:  # by a signal, in a wait for another program's file system
            return self.find(path, wait=wait)
        except OSError as error:
            if not wait and isinstance(error, BlockingIOError):
                raise
            raise _http_error(error) from None


def file_segments(path: TargetPath) -> tuple[bytes, ...]:
    """Return the names on the way to the file of a path: for a directory that is its index."""
    return (*path.segments, INDEX_NAME) if path.is_directory else path.segments


# A dotfile, or a file below a directory whose name begins with a dot. /.well-known/ is meant to be
# found (RFC 8615).
_HIDDEN = re.compile(rb"(?:^|/)\.(?!well-known(?:/|\Z))")


def _http_error(error: OSError) -> HttpError:
    default = (500, "The file could not be read.")
    status, detail = _ERRORS.get(error.errno or 0, default)
    return HttpError(status, detail)


class _ResourceLookup:
    """Finds resources below a directory that is open."""

    __slots__ = (
        "_media_types",
        "_mounts",
        "_root",
        "_root_path",
        "_wait",
        "directories",
        "root_id",
    )

    def __init__(
        self,
        root: int,
        root_path: bytes,
        mounts: Mounts,
        media_types: MediaTypes,
        *,
        wait: bool,
    ) -> None:
        self._root = root
        self._root_path = root_path
        self._mounts = mounts
        self._media_types = media_types
        self._wait = wait
        self.directories: WatchedDirectories | None = None
        self.root_id = 0, 0

    def resource(self, path: bytes, name: bytes, *, is_index: bool) -> Resource:
        known = None
        if self.directories:
            known = self.directories.get(self.root_id, path.rpartition(b"/")[0])
        found = self._open(path) if not known or known.may_contain(name) else None
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        file, status = found
        if stat.S_ISDIR(status.st_mode) and not is_index:
            return DirectoryWithoutSlash()
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        plain = _representation(file, status, *self._media_types.for_name(name))
        # A file that is itself compressed has no other compressed form.
        siblings = self._siblings(path, plain, known) if plain.coding == "identity" else []
        # Only such files change through this machine alone.
        is_local = file.is_local and all(map(_is_local, siblings))
        path = self._root_path + b"/" + path if is_local else b""
        return Document((plain, *siblings), path)

    def _siblings(
        self, path: bytes, plain: Representation, known: WatchedDirectory | None
    ) -> list[Representation]:
        """Return the precompressed siblings of a file; the same rules hold as for the file."""
        siblings = []
        oldest = plain.validator.modified - _SIBLING_TOLERANCE_S
        directory, _, name = path.rpartition(b"/")
        if self.directories and not known:
            self.directories.count_lookup(self._root, self.root_id, directory)
        for coding, suffix in CODINGS.items():
            if known and not known.may_contain(name + suffix):
                continue
            try:
                found = self._open(path + suffix)
            except OSError as error:
                # "There is none" is an answer; "it could not be found out" must not pass for one.
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
    """Tell whether a sibling can be the file in compressed form.

    No compressor writes an empty file for one that is not empty: it was left by a broken build, or
    is about to be written.
    """
    is_complete = sibling.st_size > 0 or plain.length == 0
    return stat.S_ISREG(sibling.st_mode) and sibling.st_mtime >= oldest and is_complete


def _representation(
    file: OpenFile, status: os.stat_result, media_type: str, coding: str
) -> Representation:
    etag = strong_etag(status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)
    # Headers can only express and compare what a date can: no file is older than the year 1.
    modified = max(status.st_mtime_ns // 1_000_000_000, EARLIEST)
    validator = Validator(etag, modified, status.st_ctime_ns // 1_000_000_000)
    return Representation(media_type, status.st_size, validator, file, coding)
