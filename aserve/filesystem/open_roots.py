"""The directories that sites are served from, open as long as the paths to them stay the same.

To open one by its name, to ask which it is, and to close it takes a tenth of a request that is not
cached. An open directory keeps its file system from being unmounted, so none stays open that was
not used for a second.
"""

import os
from collections.abc import Iterable, Sequence

from aserve.filesystem.monitor import ChangeMonitor
from aserve.filesystem.mounts import ChangeTracking, Mounts
from aserve.filesystem.open_beneath import open_directory
from aserve.filesystem.path_watch import watch_names
from aserve.linux.inotify import SELF, WatchedName
from aserve.linux.statx import FileId, file_id

_MAX_WATCHED = 32  # roots: a change takes as many comparisons; each may keep a descriptor


class OpenDirectory:
    """A directory that stays open as long as this object is referenced.

    descriptor: one to look names up beneath it, and not to read it. identity: which directory it
    is, where that was asked for. wait: whether looking below it may wait for a disk.
    """

    __slots__ = ("descriptor", "identity", "wait", "was_used")

    def __init__(self, descriptor: int, *, wait: bool) -> None:
        self.descriptor = descriptor
        self.wait = wait
        self.identity: FileId = 0, 0
        self.was_used = True  # since the last second began

    def __del__(self) -> None:
        os.close(self.descriptor)


def open_waiting(path: bytes) -> OpenDirectory:
    """Return the directory at a path, whatever it takes. Raises OSError."""
    return OpenDirectory(open_directory(path, wait=True), wait=True)


def open_at_once(mounts: Mounts, path: bytes) -> OpenDirectory:
    """Return the directory at a path, with its identity.

    Raises OSError; BlockingIOError where the call, or looking below it, would have to wait.
    """
    directory = OpenDirectory(open_directory(path, wait=False), wait=False)
    directory.identity = file_id(directory.descriptor)
    if mounts.tracking_of(directory.identity[0]) is ChangeTracking.NONE:
        raise BlockingIOError  # a network, or another program (FUSE), takes time
    return directory


class OpenRoots:
    """The roots that are open; for the event loop's thread alone."""

    def __init__(self, monitor: ChangeMonitor) -> None:
        self._monitor = monitor
        self._open: dict[bytes, OpenDirectory] = {}
        self._watched: dict[bytes, frozenset[WatchedName]] = {}
        """What is watched for the path to each root; nothing where that is not possible."""
        monitor.subscribe(self)

    def get(self, path: bytes) -> OpenDirectory:
        """Return the directory at a path, after all changes until now; raises as open_at_once."""
        if self._monitor.has_changes():
            self._monitor.process_changes()
        root = self._open.get(path)
        if root is None:
            return self._reopen(path)
        root.was_used = True
        return root

    def close_unused(self) -> None:
        """Note that a second has passed: close those that no one has used in it."""
        for path, root in tuple(self._open.items()):
            if not root.was_used:
                self._forget(path)
            root.was_used = False

    def on_changes(self, names: Sequence[WatchedName]) -> None:
        """Close the roots whose paths may lead elsewhere now."""
        for path, watched in tuple(self._watched.items()):
            if not watched.isdisjoint(names):
                self._forget(path)

    def on_reset(self) -> None:
        """Close all of them: nothing is watched any more."""
        self._open, self._watched = {}, {}

    def uses(self, watch: int) -> bool:
        """Tell whether a watch is that of a directory on the path to a root."""
        return any((watch, SELF) in watched for watched in self._watched.values())

    def _reopen(self, path: bytes) -> OpenDirectory:
        """Open a root; keep it open if the path to it was watched before."""
        mounts = self._monitor.mounts
        root = open_at_once(mounts, path)
        if path in self._watched or len(self._watched) >= _MAX_WATCHED:
            return root
        if not self._reports_changes(root.identity[0]):
            return root
        # No network is on a path that was opened without waiting: nor does watching it wait.
        self._watch(path)
        if self._watched.get(path):
            root = self._open[path] = open_at_once(mounts, path)
        return root

    def _watch(self, path: bytes) -> None:
        """Watch the names on a path, if every change of them makes an event."""
        if not (inotify := self._monitor.inotify):
            return  # for a while
        names: set[WatchedName] = set()
        devices: set[int] = set()
        try:
            watch_names(path, inotify, names, devices)
            is_reliable = all(map(self._reports_changes, devices))
        except OSError:  # no watches are left, or a directory may not be read
            is_reliable = False
        self._watched[path] = frozenset(names if is_reliable else ())
        if not is_reliable:
            self._release(names)

    def _reports_changes(self, device: int) -> bool:
        return self._monitor.mounts.tracking_of(device) is ChangeTracking.EVENTS

    def _forget(self, path: bytes) -> None:
        self._open.pop(path, None)
        self._release(self._watched.pop(path, ()))

    def _release(self, names: Iterable[WatchedName]) -> None:
        for watch, entry in names:
            if entry == SELF:
                self._monitor.release(watch)
