"""The files of a site: what a path leads to, and what is in a directory."""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, Protocol

from aserve.filesystem.directory_entries import DirectoryEntries
from aserve.filesystem.directory_names import Entries
from aserve.filesystem.entries import EntryReader
from aserve.filesystem.errors import http_error, is_nothing_to_serve
from aserve.filesystem.mounts import ChangeTracking, Mounts
from aserve.filesystem.names_cache import NamesCache
from aserve.filesystem.open_beneath import open_beneath, open_directory
from aserve.filesystem.open_roots import OpenDirectory, open_at_once, open_waiting
from aserve.filesystem.opened_file import MakeValidator, OpenFile, representation_of
from aserve.filesystem.visibility import DEFAULT_VISIBILITY, Visibility
from aserve.filesystem.watched_directories import WatchedDirectories
from aserve.http.content_negotiation import CODINGS
from aserve.http.media_types import MediaTypes
from aserve.http.messages import NotFound
from aserve.http.request_target import TargetPath
from aserve.http.resources import (
    DirectoryWithoutIndex,
    DirectoryWithoutSlash,
    Document,
    DocumentEncoder,
    Entry,
    Representation,
    Resource,
)
from aserve.linux.directory_entries import TYPE_DIRECTORY, TYPE_FILE, TYPE_UNKNOWN

INDEX_NAME = b"index.html"

_is_local = attrgetter("source.is_local")

# A sibling that is older than its original was made of an earlier version of it. A second is
# tolerated, since archives and checkouts write the two in any order.
_SIBLING_TOLERANCE_S = 1


class ResourceFinder(Protocol):
    """Finds what the path of a target leads to."""

    def find(self, path: TargetPath, *, wait: bool) -> Resource:
        """Return the resource at a path; raises HttpError where there is none to be served.

        Raises BlockingIOError where wait is False and the call would have to wait for a disk.
        Reading the resource then does the same.
        """


class FileSystem(ResourceFinder, Protocol):
    """The smallest interface that a site can be served from."""

    def entries(self, path: TargetPath) -> Sequence[Entry]:
        """Return the visible entries of a directory, in no order. May wait; raises HttpError."""

    def entry(self, path: TargetPath) -> Entry:
        """Return what a path leads to, a file or a directory, with or without a slash at its end.

        Its name is the last one of the path. May wait; raises HttpError where nothing is visible.
        """

    def walk(self, path: TargetPath) -> Iterator[tuple[tuple[bytes, ...], Entry]]:
        """Yield every visible entry below a directory, with its names from there down.

        Depth first, a directory before what is in it, in the order of the bytes of names. Links are
        followed as the policy says, but never in a circle. A directory that cannot be read is
        yielded and not entered. May wait; raises HttpError where the first one cannot be read.
        """


class Directory:
    """The files of a directory, looked up with each request: nothing is ever stale.

    directories: those that know their names, for look-ups that must not wait. Those are made on
    the event loop's thread alone. visibility: what can be seen at all. index: the names of index
    files, of which the first that is there is sent for its directory. make_validator: of files.
    has_siblings: whether compressed siblings are sent. encoder: compresses files without one.
    """

    def __init__(  # noqa: PLR0913 - all that decides which file is sent
        self,
        root: Path,
        mounts: Mounts | None = None,
        media_types: MediaTypes | None = None,
        directories: WatchedDirectories | None = None,
        visibility: Visibility = DEFAULT_VISIBILITY,
        *,
        index: Sequence[bytes] = (INDEX_NAME,),
        make_validator: MakeValidator | None = None,
        has_siblings: bool = True,
        encoder: DocumentEncoder | None = None,
    ) -> None:
        self._rules = _Rules(
            os.fsencode(root),
            mounts or Mounts(),
            media_types or MediaTypes(),
            visibility,
            make_validator,
            tuple(CODINGS.items()) if has_siblings else (),
            encoder,
        )
        self._lookup = _ResourceLookup(self._rules, directories)
        self._open_at_once: Callable[[bytes], OpenDirectory] = (
            directories.roots.get if directories else partial(open_at_once, self._rules.mounts)
        )
        self._visibility = visibility
        self._find_hidden = visibility.find_hidden
        self._index = index
        self._names = NamesCache(self._rules.mounts)

    def find(self, path: TargetPath, *, wait: bool) -> Resource:
        """Return the resource at a path; raises HttpError where there is none to be served.

        Raises BlockingIOError where wait is False and the call would have to wait for a disk.
        """
        name = b"/".join(path.segments)
        if self._find_hidden(b"/" + name):
            raise NotFound
        try:
            # The one that is at its path now: a build may replace it as a whole.
            root = (open_waiting if wait else self._open_at_once)(self._rules.root)
            if path.is_directory:
                return self._lookup.index(root, name, self._visible_index(name))
            return self._lookup.file(root, name, path.segments[-1])
        except InterruptedError:  # by a signal, in a wait for another program's file system
            return self.find(path, wait=wait)
        except OSError as error:
            if not wait and isinstance(error, BlockingIOError):
                raise
            raise http_error(error, self._places(path)) from None

    def _visible_index(self, directory: bytes) -> Sequence[bytes]:
        """Return the names of index files that may be seen: one can be hidden by itself."""
        prefix = b"/" + directory + b"/" if directory else b"/"
        return [name for name in self._index if not self._find_hidden(prefix + name)]

    def _places(self, path: TargetPath) -> tuple[bytes, ...]:
        """Return the paths at which the file of a path is looked for."""
        place = b"/".join((self._rules.root, *path.segments))
        if not path.is_directory:
            return (place,)
        return tuple(place + b"/" + name for name in self._index)

    def entries(self, path: TargetPath) -> Sequence[Entry]:
        """Return the visible entries of a directory, in no order. May wait; raises HttpError."""
        name = b"/".join(path.segments)
        try:
            return DirectoryEntries(self._rules.root, self._visibility, name, self._names)
        except OSError as error:
            raise http_error(error) from None

    def entry(self, path: TargetPath) -> Entry:
        """Return what a path leads to, as FileSystem says."""
        try:
            root = open_directory(self._rules.root, wait=True)
            try:
                found = EntryReader(root, self._visibility).entry_at(b"/".join(path.segments))
            finally:
                os.close(root)
        except OSError as error:
            raise http_error(error) from None
        if found is None:
            raise NotFound
        return found

    def walk(self, path: TargetPath) -> Iterator[tuple[tuple[bytes, ...], Entry]]:
        """Yield every visible entry below a directory, as FileSystem says."""
        try:
            root = open_directory(self._rules.root, wait=True)
            try:
                yield from EntryReader(root, self._visibility).walk(b"/".join(path.segments))
            finally:
                os.close(root)
        except OSError as error:
            raise http_error(error) from None


class _Rules(NamedTuple):
    """What decides which files of a site there are, and what they are sent as."""

    root: bytes
    mounts: Mounts
    media_types: MediaTypes
    visibility: Visibility
    make_validator: MakeValidator | None
    siblings: Sequence[tuple[str, bytes]]
    encoder: DocumentEncoder | None

    def is_local(self, device: int) -> bool:
        """Tell whether a device is no network, and no other program (FUSE)."""
        return self.mounts.tracking_of(device) is not ChangeTracking.NONE


class _ResourceLookup:
    """Finds resources below a directory that is open: the root, which each look-up is given.

    directories: those that know their names, for roots below which nothing may wait.
    """

    def __init__(self, rules: _Rules, directories: WatchedDirectories | None) -> None:
        self._rules = rules
        self._directories = directories

    def file(self, root: OpenDirectory, path: bytes, name: bytes) -> Resource:
        """Return the file at a path, or the directory that is there."""
        known = None
        if self._directories and not root.wait:
            known = self._directories.get(root.identity, path.rpartition(b"/")[0])
        entries = known.entries if known else None
        kind = TYPE_UNKNOWN if entries is None else entries.get(name)
        found = None if kind is None else self._open(root, path, kind)
        mode = found[1].st_mode if found else 0
        if found and stat.S_ISREG(mode):
            return self._document(root, path, name, *found, entries)
        if stat.S_ISDIR(mode):
            return DirectoryWithoutSlash((self._rules.root + b"/" + path,))
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def index(self, root: OpenDirectory, directory: bytes, names: Sequence[bytes]) -> Resource:
        """Return the first index file of a directory that is there."""
        known = None
        if self._directories and not root.wait:
            known = self._directories.get(root.identity, directory)
        entries = known.entries if known else None
        absent: tuple[bytes, ...] = ()
        for name in names:
            path = directory + b"/" + name if directory else name
            kind = TYPE_UNKNOWN if entries is None else entries.get(name)
            found = None if kind is None else self._open_index(root, path, kind)
            if found:
                document = self._document(root, path, name, *found, entries)
                return document._replace(absent=absent) if absent else document
            absent += (self._rules.root + b"/" + path,)
        if not known:  # one that is watched is there
            self._check_directory(root, directory)
        return DirectoryWithoutIndex(absent)

    def _document(  # noqa: PLR0913, PLR0917 - all that was found out
        self,
        root: OpenDirectory,
        path: bytes,
        name: bytes,
        file: OpenFile,
        status: os.stat_result,
        entries: Entries | None,
    ) -> Document:
        media_type, coding = self._rules.media_types.for_name(name)
        make_validator = self._rules.make_validator
        plain = representation_of(file, status, media_type, coding, make_validator)
        # A file that is itself compressed has no other compressed form.
        siblings = self._siblings(root, path, plain, entries) if coding == "identity" else []
        # Only such files change through this machine alone.
        is_local = file.is_local and (not siblings or all(map(_is_local, siblings)))
        path = self._rules.root + b"/" + path if is_local else b""
        return Document((plain, *siblings), path, encoder=self._rules.encoder)

    def _open_index(
        self, root: OpenDirectory, path: bytes, kind: int
    ) -> tuple[OpenFile, os.stat_result] | None:
        """Open an index; None for anything else of that name, as where there is nothing."""
        try:
            found = self._open(root, path, kind)
        except OSError as error:
            if http_error(error).status != 404:
                raise
            return None
        return found if found and stat.S_ISREG(found[1].st_mode) else None

    def _check_directory(self, root: OpenDirectory, path: bytes) -> None:
        found = self._open(root, path or b".", TYPE_DIRECTORY)
        if found is None or not stat.S_ISDIR(found[1].st_mode):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def _siblings(
        self, root: OpenDirectory, path: bytes, plain: Representation, entries: Entries | None
    ) -> list[Representation]:
        """Return the precompressed siblings of a file; the same rules hold as for the file."""
        siblings = []
        visibility, make_validator = self._rules.visibility, self._rules.make_validator
        oldest = plain.validator.modified - _SIBLING_TOLERANCE_S
        directory, _, name = path.rpartition(b"/")
        if self._directories and not root.wait and entries is None:
            self._directories.count_lookup(root.descriptor, root.identity, directory)
        for coding, suffix in self._rules.siblings:
            if entries is not None and name + suffix not in entries:
                continue  # most of them, without a call
            kind = entries[name + suffix] if entries is not None else TYPE_UNKNOWN
            if visibility.has_globs and not visibility.is_visible(path + suffix):
                continue
            try:
                found = self._open(root, path + suffix, kind)
            except OSError as error:
                # "There is none" is an answer; "it could not be found out" must not pass for one.
                if not is_nothing_to_serve(error):
                    raise
                continue
            if found and _is_valid_sibling(plain, found[1], oldest):
                sibling = representation_of(*found, plain.media_type, coding, make_validator)
                siblings.append(sibling)
        return siblings

    def _open(
        self, root: OpenDirectory, path: bytes, kind: int
    ) -> tuple[OpenFile, os.stat_result] | None:
        """Open what is at a path, whose type may be known already."""
        descriptor = open_beneath(
            root.descriptor,
            path,
            wait=root.wait,
            visibility=self._rules.visibility,
            is_file=kind == TYPE_FILE,
        )
        if descriptor is None:
            return None
        try:
            status = os.fstat(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        device = status.st_dev
        # That of the root, if it was asked for, is local.
        local = device == root.identity[0] or self._rules.is_local(device)
        return OpenFile(descriptor, status, wait=root.wait, local=local), status


def _is_valid_sibling(plain: Representation, sibling: os.stat_result, oldest: int) -> bool:
    """Tell whether a sibling can be the file in compressed form.

    No compressor writes an empty file for one that is not empty: it was left by a broken build, or
    is about to be written.
    """
    is_complete = sibling.st_size > 0 or plain.length == 0
    return stat.S_ISREG(sibling.st_mode) and sibling.st_mtime >= oldest and is_complete
