"""The inotify watches of a tree of directories."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress

from aserve.filesystem.mounts import ChangeTracking, Mounts
from aserve.filesystem.tree_entries import TreeDirectory
from aserve.linux.inotify import Inotify, QueueOverflow, WatchedName, watch_share


class DirectoryWatches:
    """Watches directories, and knows the paths of each watch: an inode has one, and may have links.

    max_watches: how many it may use, None for a quarter of the user's.
    """

    def __init__(self, mounts: Mounts, max_watches: int | None) -> None:
        self._mounts = mounts
        self._paths: defaultdict[int, set[bytes]] = defaultdict(set)
        self._inotify: Inotify | None
        try:
            self._inotify = Inotify(watch_share(2) if max_watches is None else max_watches)
        except OSError:  # no instance is left: all is compared
            self._inotify = None

    def fileno(self) -> int:
        """Return the descriptor that is readable when there are events, -1 if there is none."""
        return self._inotify.fileno() if self._inotify else -1

    def add(self, directory: TreeDirectory) -> None:
        """Watch a directory, if its file system reports changes and a watch is left."""
        device, _ = directory.identity
        if self._inotify and self._mounts.tracking_of(device) is ChangeTracking.EVENTS:
            with suppress(OSError):  # no watches are left, or it has gone
                directory.watch = self._inotify.add_contents(directory.location)
                self._paths[directory.watch].add(directory.path)

    def remove(self, directory: TreeDirectory) -> None:
        """Watch a directory no longer, unless it has other paths."""
        if directory.watch is None:
            return
        paths = self._paths[directory.watch]
        paths.discard(directory.path)
        if not paths:
            del self._paths[directory.watch]
            if self._inotify:
                self._inotify.remove(directory.watch)

    def paths_of(self, watch: int) -> Sequence[bytes]:
        """Return the paths of the directory that a watch is for."""
        return tuple(self._paths.get(watch, ()))

    def read_changes(self) -> list[WatchedName]:
        """Return what has changed, of each watch. Raises QueueOverflow as Inotify does.

        Must not be called before there are events.
        """
        return self._inotify.read_changes() if self._inotify else []

    def clear(self) -> None:
        """Remove all watches, and forget what they have reported."""
        if self._inotify:
            for watch in self._paths:
                self._inotify.remove(watch)
            while self._inotify.has_changes():
                with suppress(QueueOverflow):  # the rest is read in the next turn
                    self._inotify.read_changes()
        self._paths.clear()

    def close(self) -> None:
        """Release all watches; closing twice does no harm."""
        if self._inotify:
            self._inotify.close()
