"""Where something is written: an open directory beneath the root, and a name in it."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from aserve.filesystem.visibility import Visibility
from aserve.filesystem.writing.errors import (
    Hidden,
    InvalidName,
    IsDirectory,
    IsLink,
    IsSpecial,
    translated,
)
from aserve.http.content_negotiation import CODINGS
from aserve.http.request_target import TargetPath
from aserve.linux.libc import get_errno, os_error
from aserve.linux.openat2 import (
    HOW_SIZE,
    RESOLVE_BENEATH,
    RESOLVE_NO_SYMLINKS,
    open_how,
    openat2,
)

_NO_NAMES = frozenset({b"", b".", b".."})
_MAX_NAME_SIZE = 255  # bytes: NAME_MAX of Linux
_ROOT_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
# Opened to be read, which O_PATH is not: flock and fsync need it.
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_BENEATH = open_how(_FLAGS, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
_NO_OPENAT2 = frozenset({errno.ENOSYS, errno.EPERM})  # too old; a container's filter

# Of file systems whose directories need no fsync, or know none (CIFS, 9p, some FUSE).
_NO_SYNC = frozenset({errno.EBADF, errno.EINVAL})


class Place(NamedTuple):
    """A name in an open directory, where a file is or will be."""

    directory: int
    name: bytes

    def status(self) -> os.stat_result | None:
        """Return the status of what is there, of a link itself; None where there is nothing."""
        try:
            return os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)
        except FileNotFoundError:
            return None


def check_path(path: TargetPath, visibility: Visibility) -> None:
    """Raise InvalidName or Hidden unless a file may have this path."""
    if not path.segments:
        raise IsDirectory
    for name in path.segments:
        if name in _NO_NAMES or b"/" in name or b"\0" in name:
            raise InvalidName
        if len(name) > _MAX_NAME_SIZE:
            raise InvalidName("This name is too long.")
    if not visibility.is_visible(b"/".join(path.segments)):
        raise Hidden


def open_place(root: Path, path: TargetPath) -> Place:
    """Open the directory that a path's last name is in, for the caller to close. Raises OSError."""
    return Place(open_directory(root, path.segments[:-1]), path.segments[-1])


@contextmanager
def place_of(root: Path, path: TargetPath) -> Iterator[Place]:
    """Open the directory that a path's last name is in. Raises WriteError, and OSError as one."""
    with translated():
        place = open_place(root, path)
        try:
            yield place
        finally:
            close_directory(place.directory)


def open_directory(root: Path, names: tuple[bytes, ...]) -> int:
    """Return a descriptor of a directory beneath the root, whose own path may have links.

    Raises OSError; ELOOP or ENOTDIR where a link is on the path below.
    """
    if not names:
        return os.open(root, _FLAGS)
    descriptor = os.open(root, _ROOT_FLAGS)
    try:
        return open_beneath_directory(descriptor, names)
    finally:
        close_directory(descriptor)


def open_beneath_directory(top: int, names: tuple[bytes, ...]) -> int:
    """Return a descriptor of a directory beneath an open one, by a path without any link.

    A directory that another program moves out from beneath it is found no longer. Raises OSError.
    """
    found = openat2(top, b"/".join(names) or b".", _BENEATH, HOW_SIZE)
    if found >= 0:
        return found
    number = get_errno()
    if number == errno.EINTR:  # by a signal, in a wait for another program's file system
        return open_beneath_directory(top, names)
    if number not in _NO_OPENAT2:
        raise os_error(number)
    return _open_step_by_step(top, names)


def _open_step_by_step(root: int, names: tuple[bytes, ...]) -> int:
    """Open a directory by one name after the other, none of which can lead upward or be a link."""
    directory = os.open(b".", _FLAGS, dir_fd=root)
    for name in names:
        try:
            found = os.open(name, _FLAGS | os.O_NOFOLLOW, dir_fd=directory)
        finally:
            close_directory(directory)
        directory = found
    return directory


def close_directory(descriptor: int) -> None:
    """Close a directory. Whatever close(2) returns, it is closed, and nothing was written to it."""
    try:  # noqa: SIM105 - suppress costs three calls
        os.close(descriptor)
    except OSError:
        pass


def check_is_file(status: os.stat_result) -> None:
    """Raise WriteError unless a status is that of an ordinary file, which may be replaced."""
    if stat.S_ISDIR(status.st_mode):
        raise IsDirectory
    check_is_ordinary(status)


def check_is_ordinary(status: os.stat_result) -> None:
    """Raise WriteError unless a status is that of a file or a directory."""
    if stat.S_ISLNK(status.st_mode):
        raise IsLink
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise IsSpecial


def freed_by(status: os.stat_result | None) -> int:
    """Return how many bytes go with the name of a file, None for none: it may have other names."""
    return status.st_size if status and status.st_nlink == 1 else 0


def is_sibling_of_another(place: Place, name: bytes) -> bool:
    """Tell whether a file of this name would be sent in place of one that is there: "a.css.gz"."""
    originals = [name.removesuffix(suffix) for suffix in CODINGS.values() if name.endswith(suffix)]
    return any(original and place._replace(name=original).status() for original in originals)


def sync_directory(descriptor: int) -> None:
    """Wait until the names in a directory are on the disk. Raises OSError."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
