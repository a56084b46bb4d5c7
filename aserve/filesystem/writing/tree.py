"""Every name below a directory, and the deletion of them all."""

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from aserve.filesystem.steps import in_steps
from aserve.filesystem.visibility import Visibility
from aserve.filesystem.writing.errors import (
    NotEmpty,
    TooManyEntries,
    WriteError,
    write_error,
)
from aserve.filesystem.writing.places import close_directory, open_beneath_directory
from aserve.filesystem.writing.temporary import PREFIX
from aserve.linux.directory_entries import TYPE_DIRECTORY, TYPE_UNKNOWN, read_entries

MAX_ENTRIES = 100_000
"""Names below a directory that is deleted or moved: the time of a request is bounded by it."""

_MAX_DIRECTORY_SIZE = 280 * MAX_ENTRIES  # bytes: one entry takes 24 and its name
_MAX_FAILURES = 100

Names = tuple[bytes, ...]
"""A path below the top of a tree; () is the top."""


class TreeDirectory(NamedTuple):
    """A directory of a tree. names: of what is in it and is no directory; children: of those."""

    path: Names
    descriptor: int
    names: Sequence[bytes]
    children: Sequence[bytes]


def walk(top: int, *, lenient: bool = False) -> Iterator[TreeDirectory]:
    """Yield an open directory and all below it, each before its own. No link is followed.

    Each descriptor is open until the next one is asked for. One that has gone meanwhile is left
    out; lenient: so is one that cannot be read. Raises OSError; TooManyEntries for a directory of
    more than MAX_ENTRIES, unless lenient.
    """
    pending: list[Names] = [()]
    while pending:
        path = pending.pop()
        try:
            descriptor = open_beneath_directory(top, path)
        except OSError as error:
            if lenient or isinstance(error, FileNotFoundError):
                continue
            raise
        try:
            directory = _read(path, descriptor, sys.maxsize if lenient else _MAX_DIRECTORY_SIZE)
            yield directory
        finally:
            close_directory(descriptor)
        pending += [(*path, name) for name in directory.children]


def _read(path: Names, descriptor: int, max_size: int) -> TreeDirectory:
    entries = read_entries(descriptor, max_size)
    if entries is None:
        raise TooManyEntries
    found = in_steps(entries.items())
    children = [name for name, kind in found if _is_directory(descriptor, name, kind)]
    excluded = set(children)
    names = [name for name in in_steps(entries) if name not in excluded]
    return TreeDirectory(path, descriptor, names, children)


def _is_directory(directory: int, name: bytes, kind: int) -> bool:
    if kind != TYPE_UNKNOWN:
        return kind == TYPE_DIRECTORY
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode)


def visible_tree(top: int, path: bytes, visibility: Visibility) -> list[TreeDirectory]:
    """Return all below an open directory, parents first, with descriptors that are closed.

    path: its own, from the root. Raises NotEmpty where anything is hidden: who cannot see a file
    can neither delete nor move it. Temporary files do not count. Raises TooManyEntries, OSError.
    """
    directories: list[TreeDirectory] = []
    count = 0
    for directory in walk(top):
        count += 1 + len(directory.names)
        if count + len(directory.children) > MAX_ENTRIES:
            raise TooManyEntries
        prefix = b"/".join((path, *directory.path)) + b"/"
        for name in in_steps((*directory.names, *directory.children)):
            if not (name.startswith(PREFIX) or visibility.is_visible(prefix + name)):
                raise NotEmpty
        directories.append(directory)
    return directories


class _Remove(Protocol):
    def __call__(self, path: bytes, /, *, dir_fd: int) -> None: ...


class Removal:
    """Removes the names of a tree that were seen before, and no others."""

    def __init__(self, top: int) -> None:
        self._top = top
        self.count = 0
        self.failed: list[tuple[Names, WriteError]] = []

    def remove(self, directories: Sequence[TreeDirectory]) -> None:
        """Remove all below the top; what cannot be removed is noted, and the rest goes on."""
        for directory in reversed(directories):
            try:
                descriptor = open_beneath_directory(self._top, directory.path)
            except OSError as error:
                self._note(directory.path, error)
                continue
            try:
                self._empty(directory, descriptor)
            finally:
                close_directory(descriptor)

    def _empty(self, directory: TreeDirectory, descriptor: int) -> None:
        """Remove the files of a directory, then its directories, which are empty by now."""
        for name in in_steps(directory.names):
            self._try(os.unlink, descriptor, (*directory.path, name))
        for name in directory.children:
            self._try(os.rmdir, descriptor, (*directory.path, name))

    def _try(self, call: _Remove, directory: int, path: Names) -> None:
        try:
            call(path[-1], dir_fd=directory)
        except FileNotFoundError:
            pass  # another program was faster
        except OSError as error:
            self._note(path, error)
        else:
            self.count += 1

    def _note(self, path: Names, error: OSError) -> None:
        if len(self.failed) < _MAX_FAILURES:
            self.failed.append((path, write_error(error)))
