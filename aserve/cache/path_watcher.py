"""Watches all that decides which file a path leads to, and what that file is."""

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress

from aserve.cache.dependencies import Dependencies, Signature, state_at
from aserve.filesystem.file_state import state_of
from aserve.filesystem.mounts import ChangeTracking, Mounts
from aserve.filesystem.path_watch import watch_names
from aserve.http.content_negotiation import CODINGS
from aserve.linux.inotify import SELF, Inotify, WatchedName

# Seconds since a file's last change. A response for a younger file may depend on the clock.
_MIN_AGE_S = 2


class WatchedPaths:
    """The directories whose paths are watched. They are valid until anything changes on a path.

    names: all names that are watched for them.
    """

    def __init__(self) -> None:
        self.names: set[WatchedName] = set()
        self._paths: dict[bytes, tuple[frozenset[WatchedName], frozenset[int]]] = {}

    def get(self, directory: bytes) -> tuple[frozenset[WatchedName], frozenset[int]] | None:
        """Return the names watched on the path to a directory, and the devices of that path."""
        return self._paths.get(directory)

    def add(self, directory: bytes, names: set[WatchedName], devices: set[int]) -> None:
        """Add what was found on the path to a directory."""
        self._paths[directory] = frozenset(names), frozenset(devices)
        self.names |= names

    def clear(self) -> None:
        """Forget all paths."""
        self.names.clear()
        self._paths.clear()


def watch_path(  # noqa: PLR0913, PLR0917 - everything that decides it
    path: bytes,
    absent: Sequence[bytes],
    inotify: Inotify | None,
    mounts: Mounts,
    now: int,
    paths: WatchedPaths,
) -> Dependencies:
    """Watch a file, the names of its precompressed siblings, and paths at which no file is.

    The result is not usable where the response should not be cached. Its watches must then be
    removed, or the user's watches would leak. now: POSIX seconds. paths: those that are watched
    already, to which this one is added.
    """
    collector = _DependencyCollector(inotify, paths)
    try:
        found = _find_signatures(path, absent, collector, mounts, now)
    except OSError:
        found = None
    signatures, file_states = found or ((), None)
    return Dependencies(collector.names, signatures, inotify, file_states)


def watch_files(
    paths: Sequence[bytes], inotify: Inotify, mounts: Mounts
) -> tuple[frozenset[WatchedName], bool]:
    """Watch some files that may be there or not, and the paths to them.

    Return what is watched, and whether every change makes an event. If not, the watches must be
    removed.
    """
    collector = _DependencyCollector(inotify, WatchedPaths())
    try:
        for path in paths:
            collector.watch_possible_file(path)
    except OSError:  # no watches left, or a directory that may not be read
        return frozenset(collector.names), False
    tracking = min(map(mounts.tracking_of, collector.devices), default=ChangeTracking.NONE)
    return frozenset(collector.names), tracking is ChangeTracking.EVENTS


def _find_signatures(
    path: bytes,
    absent: Sequence[bytes],
    collector: "_DependencyCollector",
    mounts: Mounts,
    now: int,
) -> tuple[list[Signature], list[Signature]] | None:
    """Watch what can be watched; return the signatures to compare by stat, and the files' states.

    None where the response should not be cached. Raises OSError where the file does not exist.
    """
    if _is_recent(os.stat(path), now):
        return None
    files = [path, *(path + suffix for suffix in CODINGS.values())]
    is_watched = collector.watch_all(files, absent)
    statuses = {file: status for file in files if (status := _stat(file, is_required=file is path))}
    devices = collector.devices | {status.st_dev for status in statuses.values()}
    tracking = min(map(mounts.tracking_of, devices))
    if tracking is ChangeTracking.NONE or any(
        _is_recent(status, now) for status in statuses.values()
    ):
        return None
    file_states = [(file, state_of(status)) for file, status in statuses.items()]
    if tracking is ChangeTracking.EVENTS and is_watched:
        return [], file_states
    others = [(name, state_at(name)) for name in (os.path.dirname(path), *absent)]
    return [*others, *file_states], file_states


def _is_recent(status: os.stat_result, now: int) -> bool:
    return status.st_mtime > now - _MIN_AGE_S


def _stat(path: bytes, *, is_required: bool) -> os.stat_result | None:
    """Return the status of the file that a path leads to; None where not even a link is there."""
    status = _lstat(path)
    if status is None:
        if is_required:
            raise FileNotFoundError
        return None
    return os.stat(path) if stat.S_ISLNK(status.st_mode) else status


def _lstat(path: bytes) -> os.stat_result | None:
    """Return the status of a name; None where it does not exist, or is too long to exist."""
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise


class _DependencyCollector:
    """Watches what one path depends on, and collects the watched names and the devices."""

    __slots__ = (
        "_inotify",
        "_paths",
        "devices",
        "names",
    )

    def __init__(self, inotify: Inotify | None, paths: WatchedPaths) -> None:
        self._inotify = inotify
        self._paths = paths
        self.names: set[WatchedName] = set()
        self.devices: set[int] = set()

    def watch_all(self, files: list[bytes], absent: Sequence[bytes]) -> bool:
        """Watch all that some files of one directory depend on; tell whether that was possible.

        absent: paths anywhere, at which no file may appear.
        """
        if self._inotify is None:
            return False
        directory = os.path.dirname(files[0])
        try:
            self._watch_directory_path(directory)
            watch = self._inotify.add_directory(directory)
            self.names.add((watch, SELF))
            for file in files:
                self.names.add((watch, os.path.basename(file)))
                self._watch_file(file, self._inotify)
            for path in absent:
                self._watch_absent(path)
        except OSError:  # no watches left, or a directory that may not be read
            return False
        return True

    def watch_possible_file(self, path: bytes) -> None:
        """Watch a file that may be there or not, and the path to it."""
        assert self._inotify  # noqa: S101 - watch_files has one
        self._watch_absent(path)
        self._watch_file(path, self._inotify)
        if status := _lstat(path):
            self.devices.add((os.stat(path) if stat.S_ISLNK(status.st_mode) else status).st_dev)

    def _watch_directory_path(self, directory: bytes) -> None:
        if watched := self._paths.get(directory):
            names, devices = watched
            self.names |= names
            self.devices |= devices
        else:
            self._watch_path(directory)
            self._paths.add(directory, self.names, self.devices)

    def _watch_file(self, path: bytes, inotify: Inotify) -> None:
        """Watch a file itself, if it exists, and the path to it if its name is a symbolic link."""
        status = _lstat(path)
        if status is None:
            return
        if stat.S_ISLNK(status.st_mode):
            self._watch_path(path)
        # A change through a second name elsewhere makes no event in this directory.
        self.names.add((inotify.add_file(path), SELF))

    def _watch_absent(self, path: bytes) -> None:
        """Watch the names on a path as far as it goes: where it ends, the rest would begin."""
        with suppress(FileNotFoundError, NotADirectoryError):
            self._watch_path(path)

    def _watch_path(self, path: bytes) -> None:
        assert self._inotify  # noqa: S101 - watch_all has checked it
        watch_names(path, self._inotify, self.names, self.devices)
