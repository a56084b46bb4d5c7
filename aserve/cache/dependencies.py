"""What a response depends on: watched names, or file signatures where there are no events."""

import errno
import os
import stat
from collections.abc import Iterable

from aserve.filesystem.mounts import ChangeTracking, Mounts
from aserve.http.content_negotiation import CODINGS
from aserve.linux.inotify import SELF, Inotify, WatchedName

# Seconds since a file's last change. A response for a younger file may depend on the clock.
_MIN_AGE_S = 2

Signature = tuple[bytes, tuple[int, ...]]
"""A path, and the state of the file that it led to; () for none."""


class Dependencies:
    """Everything that decides which file one path leads to, its precompressed siblings included.

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


DirectoryDependencies = dict[bytes, tuple[set[WatchedName], set[int]]]
"""By directory: the names watched on the path to it, and the devices of that path.

They are valid as long as nothing on these paths changes."""


def watch_path(
    path: bytes,
    inotify: Inotify | None,
    mounts: Mounts,
    now: int,
    directories: DirectoryDependencies | None = None,
) -> Dependencies:
    """Watch a file and the names of its precompressed siblings.

    The result is not usable where the response should not be cached. Its watches must then be
    removed, or the user's watches would leak. now: POSIX seconds. Any thread may call this, but a
    given directories is for the thread of the event loop alone.
    """
    collector = _DependencyCollector(inotify, {} if directories is None else directories)
    try:
        found = _find_signatures(path, collector, mounts, now)
    except OSError:
        found = None
    signatures, file_states = found or ((), None)
    return Dependencies(collector.names, signatures, inotify, file_states)


def _find_signatures(
    path: bytes, collector: "_DependencyCollector", mounts: Mounts, now: int
) -> tuple[list[Signature], list[Signature]] | None:
    """Watch what can be watched; return the signatures to compare by stat, and the files' states.

    None where the response should not be cached. Raises OSError where the file does not exist.
    """
    if _is_recent(os.stat(path), now):
        return None
    files = [path, *(path + suffix for suffix in CODINGS.values())]
    is_watched = collector.watch_all(files)
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
    directory = os.path.dirname(path)
    return [(directory, _state_at(directory)), *file_states], file_states


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
        "_directories",
        "_inotify",
        "devices",
        "names",
    )

    def __init__(self, inotify: Inotify | None, directories: DirectoryDependencies) -> None:
        self._inotify = inotify
        self._directories = directories
        self.names: set[WatchedName] = set()
        self.devices: set[int] = set()

    def watch_all(self, files: list[bytes]) -> bool:
        """Watch all that some files of one directory depend on; tell whether that was possible."""
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
        except OSError:  # no watches left, or a directory that may not be read
            return False
        return True

    def _watch_directory_path(self, directory: bytes) -> None:
        if directory not in self._directories:
            self._watch_path(directory)
            self._directories[directory] = set(self.names), set(self.devices)
        names, devices = self._directories[directory]
        self.names |= names
        self.devices |= devices

    def _watch_file(self, path: bytes, inotify: Inotify) -> None:
        """Watch a file itself, if it exists, and the path to it if its name is a symbolic link."""
        status = _lstat(path)
        if status is None:
            return
        if stat.S_ISLNK(status.st_mode):
            self._watch_path(path)
        # A change through a second name elsewhere makes no event in this directory.
        self.names.add((inotify.add_file(path), SELF))

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
