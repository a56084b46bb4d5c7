"""What a response depends on: watched names, or file signatures where there are no events."""

import errno
import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from aserve.filesystem.monitor import ChangeMonitor
from aserve.filesystem.mounts import ChangeTracking, Mounts
from aserve.http.content_negotiation import CODINGS
from aserve.linux.inotify import SELF, Inotify, WatchedName

# Seconds since a file's last change. A response for a younger file may depend on the clock.
_MIN_AGE_S = 2

T = TypeVar("T")

Signature = tuple[bytes, tuple[int, ...]]
"""A path, and the state of the file that it led to; () for none."""


class Dependencies:
    """Everything that decides which file is sent, its precompressed siblings included.

    names: the names that inotify watches for it; signatures: the states of files that are not
    watched, to be compared by stat; file_states: the states of the file and its siblings, for
    changes that make no event; None where names and signatures may miss a change. Then is_usable is
    false, and the watches only remain to be removed.
    """

    __slots__ = (
        "file_states",
        "inotify",
        "is_usable",
        "names",
        "signatures",
    )

    def __init__(
        self,
        names: Iterable[WatchedName],
        signatures: Iterable[Signature],
        inotify: Inotify | None,
        file_states: Iterable[Signature] | None,
    ) -> None:
        self.names = frozenset(names)
        self.signatures = tuple(signatures)
        self.inotify = inotify
        self.is_usable = file_states is not None
        self.file_states = tuple(file_states or ())

    def signatures_unchanged(self) -> bool:
        """Tell whether the files that are compared by stat, and not watched, are unchanged."""
        return all(_state_at(path) == state for path, state in self.signatures)

    def files_unchanged(self) -> bool:
        """Tell whether the file and its siblings are in the state that they were in."""
        return all(_state_at(path) == state for path, state in self.file_states)


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


class DependencyTable(Generic[T]):
    """Who depends on which names, and the watches for them; for the event loop's thread alone."""

    def __init__(self, monitor: ChangeMonitor) -> None:
        self._monitor = monitor
        self._by_name: defaultdict[WatchedName, set[T]] = defaultdict(set)
        self._paths = WatchedPaths()
        self.root_is_local = False
        """Whether the path to the root was found to be local since the last change. If so, and the
        kernel has just resolved a path without waiting, watching it does not wait either."""

    def watch(
        self, path: bytes, absent: Sequence[bytes], now: int, *, at_once: bool
    ) -> Dependencies:
        """Watch a file and the names of its precompressed siblings; any thread may call this.

        The result is to be added or discarded. absent: paths at which no file may appear. at_once:
        the call is made in the event loop, which may use the paths it already watches.
        """
        paths = self._paths if at_once else WatchedPaths()
        return watch_path(path, absent, self._monitor.inotify, self._monitor.mounts, now, paths)

    def changed_since(self, dependencies: Dependencies, generation: int) -> bool:
        """Tell whether anything may have changed since a generation."""
        return self._monitor.changed_since(dependencies.names, generation)

    def add(self, dependent: T, dependencies: Dependencies) -> None:
        """Have found a dependent that is valid until its dependencies change."""
        self.root_is_local = True
        for name in dependencies.names:
            self._by_name[name].add(dependent)

    def remove(self, dependent: T, dependencies: Dependencies) -> None:
        """Remove a dependent, and the watches that no other one needs."""
        for name in dependencies.names:
            self._by_name[name].discard(dependent)
            if not self._by_name[name]:
                del self._by_name[name]
                self._release(name)

    def discard(self, dependencies: Dependencies) -> None:
        """Remove the watches of dependencies that nothing was added for."""
        if dependencies.inotify is not self._monitor.inotify:
            return  # it was closed, and the numbers of the present one mean other watches
        for name in dependencies.names:
            if name not in self._by_name:
                self._release(name)

    def dependents_of(self, names: Iterable[WatchedName]) -> set[T]:
        """Return all that depends on names that have changed; forget the paths they are on."""
        found: set[T] = set()
        for name in names:
            dependents = self._by_name.get(name, ())
            if dependents or name in self._paths.names or not self._by_name:
                self._clear_paths()
            found.update(dependents)
        return found

    def uses(self, watch: int) -> bool:
        """Tell whether anything depends on a watch."""
        return (watch, SELF) in self._by_name

    def clear(self) -> dict[WatchedName, set[T]]:
        """Remove everything at once; return the old table, which is large."""
        by_name, self._by_name = self._by_name, defaultdict(set)
        self._clear_paths()
        return by_name

    def _release(self, name: WatchedName) -> None:
        watch, entry = name
        if entry == SELF:
            self._monitor.release(watch)

    def _clear_paths(self) -> None:
        self._paths.clear()
        self.root_is_local = False


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
    file_states = [(file, _state_of(status)) for file, status in statuses.items()]
    if tracking is ChangeTracking.EVENTS and is_watched:
        return [], file_states
    others = [(name, _state_at(name)) for name in (os.path.dirname(path), *absent)]
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


def _link_target(path: bytes) -> bytes | None:
    try:
        return os.readlink(path)
    except OSError:  # EINVAL: no link; ENOENT: no file, which is watched as well
        return None


def _state_at(path: bytes) -> tuple[int, ...]:
    try:
        return _state_of(os.stat(path))
    except OSError:
        return ()


def _state_of(status: os.stat_result) -> tuple[int, ...]:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev, status.st_size


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
        """Watch every name that decides where an absolute path leads.

        Those on the paths of symbolic links are included. Raises OSError where links form a loop.
        """
        pending = path.split(b"/")[::-1]
        directory = b"/"
        links = 0
        while pending:
            name = pending.pop()
            if name in {b"", b"."}:
                continue
            if name == b"..":
                directory = os.path.dirname(directory.rstrip(b"/")) or b"/"
                continue
            step = directory.rstrip(b"/") + b"/" + name
            target = self._watch_step(directory, name, step)
            if target is None:
                directory = step
                continue
            links += 1
            if links > 40:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            pending += target.split(b"/")[::-1]
            directory = b"/" if target.startswith(b"/") else directory

    def _watch_step(self, directory: bytes, name: bytes, step: bytes) -> bytes | None:
        """Watch a directory, and only then look into it, so that no change is missed in between.

        Return the target of a symbolic link; None for anything else.
        """
        assert self._inotify  # noqa: S101 - watch_all has checked it
        watch = self._inotify.add_directory(directory)
        self.names |= {(watch, name), (watch, SELF)}
        self.devices.add(os.stat(directory).st_dev)
        return _link_target(step)
