"""The visible entries of directories, by the same rules as for a request of each."""

import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from aserve.filesystem.errors import is_nothing_to_serve
from aserve.filesystem.natural_order import sort_in_steps
from aserve.filesystem.open_beneath import link_target, open_beneath, stat_beneath
from aserve.filesystem.steps import in_steps
from aserve.filesystem.visibility import LinkTarget, Visibility
from aserve.http.resources import Entry
from aserve.linux.directory_entries import (
    TYPE_DIRECTORY,
    TYPE_FILE,
    TYPE_LINK,
    TYPE_UNKNOWN,
    read_entries,
)
from aserve.linux.statx import FileId

_AT_ONCE = 1_000
"""How many entries a walk reads ahead: who stops it has not paid for a directory of a million."""

_MAX_PATH = 4_095  # bytes: PATH_MAX, without its NUL

_SERVED_TYPES = frozenset({TYPE_FILE, TYPE_DIRECTORY, TYPE_LINK, TYPE_UNKNOWN})


class EntryReader:
    """Reads directories below a root that is open. All of it may wait for a disk.

    Paths are relative to the root, b"" for the root itself.
    """

    def __init__(self, root: int, visibility: Visibility) -> None:
        self._root = root
        self._visibility = visibility

    def open(self, path: bytes) -> int:
        """Return a descriptor of a visible directory. Raises OSError."""
        descriptor = None
        if self._visibility.is_visible(path):
            descriptor = open_beneath(
                self._root, path or b".", wait=True, visibility=self._visibility
            )
        if descriptor is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return descriptor

    def names(self, directory: int, path: bytes) -> dict[bytes, int]:
        """Return the visible names in a directory that is open, and their types.

        Those that never lead to a file or a directory are left out, and those at whose paths the
        kernel opens nothing, since they are too long. Raises OSError.
        """
        found = read_entries(directory, sys.maxsize) or {}
        find_hidden, prefix = self._visibility.find_hidden, b"/" + path + b"/" if path else b"/"
        max_length = _MAX_PATH - len(prefix[1:])
        names = {
            name: kind
            for name, kind in in_steps(found.items())
            if kind in _SERVED_TYPES and len(name) <= max_length and not find_hidden(prefix + name)
        }
        if not (target := self.target(directory, path)):
            return names
        return {
            name: kind
            for name, kind in in_steps(names.items())
            if self._visibility.allows(target._replace(path=join(target.path, name)))
        }

    def target(self, directory: int, path: bytes) -> LinkTarget | None:
        """Return where links lead to a directory that is open, if that decides what is hidden.

        Without globs for paths, each name is hidden by itself, wherever it is. Raises OSError.
        """
        if not self._visibility.has_globs:
            return None
        return link_target(self._root, path or b".", directory)

    def entry(self, directory: int, path: bytes, name: bytes) -> Entry | None:
        """Return one entry of a directory that is open; None if it cannot be served.

        Raises OSError where that could not be found out.
        """
        try:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None  # it has gone meanwhile
        is_link = stat.S_ISLNK(status.st_mode)
        if is_link:
            try:
                status = stat_beneath(self._root, join(path, name), self._visibility)
            except OSError as error:
                if not is_nothing_to_serve(error):
                    raise
                return None
        return entry_of(name, status, is_link=is_link)

    def entry_at(self, path: bytes) -> Entry | None:
        """Return what a path leads to; None if it cannot be served. Raises OSError."""
        if not self._visibility.is_visible(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        status = stat_beneath(self._root, path or b".", self._visibility)
        return entry_of(path.rpartition(b"/")[2], status)

    def walk(self, path: bytes) -> Iterator[tuple[tuple[bytes, ...], Entry]]:
        """Yield all entries below a directory, each directory before its own.

        With the names from that directory down, in the order of their bytes. A directory that links
        lead to from within itself is not entered again, nor one that may not be read. Raises
        OSError if that is the first one, and for other errors.
        """
        levels = [self._level(_Level(path), ())]
        while levels:
            level = levels[-1]
            entry = next(level.entries, None)
            if entry is None:
                levels.pop()
                continue
            names = (*level.names, entry.name)
            yield names, entry
            if entry.is_directory:
                below = _Level(join(level.path, entry.name), names)
                try:
                    levels.append(self._level(below, level.ancestors))
                except OSError as error:
                    if not is_nothing_to_serve(error):
                        raise

    def _level(self, level: "_Level", ancestors: tuple[FileId, ...]) -> "_Level":
        directory = self.open(level.path)
        try:
            status = os.fstat(directory)
            identity = status.st_dev, status.st_ino
            if identity in ancestors:
                return level
            names = sort_in_steps([*self.names(directory, level.path)])
            first = self._describe(directory, level.path, names[:_AT_ONCE])
        finally:
            os.close(directory)
        entries = chain(first, self._rest(level.path, names[_AT_ONCE:]))
        return level._replace(entries=entries, ancestors=(*ancestors, identity))

    def _rest(self, path: bytes, names: list[bytes]) -> Iterator[Entry]:
        """Yield the entries of names in a directory, as far as it is still there.

        It is opened anew for each part, so that a walk keeps no directory open.
        """
        for start in range(0, len(names), _AT_ONCE):
            try:
                directory = self.open(path)
            except OSError as error:
                if not is_nothing_to_serve(error):
                    raise
                return
            try:
                part = self._describe(directory, path, names[start : start + _AT_ONCE])
            finally:
                os.close(directory)
            yield from part

    def _describe(self, directory: int, path: bytes, names: Iterable[bytes]) -> list[Entry]:
        found = (self.entry(directory, path, name) for name in in_steps(names))
        return [entry for entry in found if entry]


class _Level(NamedTuple):
    """A directory that is being walked through, and those that it was reached through."""

    path: bytes
    names: tuple[bytes, ...] = ()
    entries: Iterator[Entry] = iter(())
    ancestors: tuple[FileId, ...] = ()


def entry_of(name: bytes, status: os.stat_result, *, is_link: bool = False) -> Entry | None:
    """Return the entry of what a name leads to; None for what is never served, such as a FIFO."""
    is_directory = stat.S_ISDIR(status.st_mode)
    if not is_directory and not stat.S_ISREG(status.st_mode):
        return None
    size = 0 if is_directory else status.st_size
    state = status.st_mode, status.st_ctime_ns, status.st_ino
    return Entry(name, is_directory, size, status.st_mtime_ns, is_link, *state)


def join(path: bytes, name: bytes) -> bytes:
    """Return the path of a name in a directory."""
    return path + b"/" + name if path else name
