"""A file or a directory is deleted."""

import os
import stat
from typing import NamedTuple

from aserve.filesystem.writing.errors import IsDirectory, Missing, WriteError, write_error
from aserve.filesystem.writing.locks import locked
from aserve.filesystem.writing.places import (
    Place,
    check_is_ordinary,
    close_directory,
    freed_by,
    open_beneath_directory,
    sync_directory,
)
from aserve.filesystem.writing.rules import Guard, Rules
from aserve.filesystem.writing.tree import Removal, visible_tree
from aserve.http.request_target import TargetPath


class Deleted(NamedTuple):
    """What was deleted.

    removed: how many files and directories. size: bytes of the file, None for a directory. failed:
    paths that are still there, and why; the first 100 of them.
    """

    removed: int
    size: int | None
    failed: tuple[tuple[TargetPath, WriteError], ...] = ()


def delete(place: Place, path: TargetPath, rules: Rules, guard: Guard, *, tree: bool) -> Deleted:
    """Delete what is at a place, as Storage.delete says. Raises WriteError and OSError."""
    with locked(place.directory):
        status = place.status()
        if not status:
            raise Missing
        check_is_ordinary(status)
        is_directory = stat.S_ISDIR(status.st_mode)
        if is_directory and not tree:
            raise IsDirectory
        guard(status)
        if not is_directory:
            os.unlink(place.name, dir_fd=place.directory)
    deleted = _delete_tree(place, path, rules) if is_directory else Deleted(1, freed_by(status))
    if rules.fsync:
        sync_directory(place.directory)
    return deleted


def _delete_tree(place: Place, path: TargetPath, rules: Rules) -> Deleted:
    top = open_beneath_directory(place.directory, (place.name,))
    try:
        directories = visible_tree(top, b"/".join(path.segments), rules.visibility)
        removal = Removal(top)
        removal.remove(directories)
    finally:
        close_directory(top)
    count, failed = removal.count, removal.failed
    try:
        os.rmdir(place.name, dir_fd=place.directory)
        count += 1
    except OSError as error:
        failed.append(((), write_error(error)))
    return Deleted(count, None, tuple((_below(path, names), error) for names, error in failed))


def _below(path: TargetPath, names: tuple[bytes, ...]) -> TargetPath:
    return TargetPath((*path.segments, *names), is_directory=not names)


def check_tree(place: Place, path: TargetPath, rules: Rules) -> tuple[int, int] | None:
    """Raise NotEmpty or TooManyEntries unless all below a directory may be moved; OSError.

    Returns which directory it was: its device and inode; None where there is none.
    """
    status = place.status()
    if not status or not stat.S_ISDIR(status.st_mode):
        return None
    top = open_beneath_directory(place.directory, (place.name,))
    try:
        visible_tree(top, b"/".join(path.segments), rules.visibility)
        checked = os.fstat(top)
    finally:
        close_directory(top)
    return checked.st_dev, checked.st_ino
