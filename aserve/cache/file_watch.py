"""A watch for a few files that decide about all responses: when one changes, none stays cached."""

from collections.abc import Sequence

from aserve.cache.path_watcher import watch_files
from aserve.filesystem.monitor import ChangeMonitor
from aserve.linux.inotify import SELF, WatchedName


class FileWatch:
    """Notices when any of some files is changed, made or removed, or another path leads there.

    For the event loop's thread alone. A change has everything forgotten that is known of files, so
    that no cached response has to depend on these by itself.
    """

    def __init__(self, paths: Sequence[bytes], monitor: ChangeMonitor) -> None:
        self._paths = paths
        self._monitor = monitor
        self._names: frozenset[WatchedName] = frozenset()
        self._is_impossible = False  # as far as is known
        self.is_started = False
        """Whether every change from now on is noticed. Any thread may read it."""
        monitor.subscribe(self)

    def is_quiet(self) -> bool:
        """Tell whether the watch is started, and nothing has changed since."""
        if self._monitor.has_changes():
            self._monitor.process_changes()
        return self.is_started

    def start(self) -> None:
        """Begin to watch, if that is possible and has not been done."""
        self._monitor.process_changes()
        inotify = self._monitor.inotify
        if self.is_started or self._is_impossible or not inotify:
            return
        names, self.is_started = watch_files(self._paths, inotify, self._monitor.mounts)
        if self.is_started:
            self._names = names
        else:
            self._is_impossible = True
            self._release(names)

    def on_changes(self, names: Sequence[WatchedName]) -> None:
        """Have everything forgotten if one of the files has changed."""
        if not self._names.isdisjoint(names):
            self._monitor.reset()

    def on_reset(self) -> None:
        """Watch no longer."""
        self._names, self.is_started, self._is_impossible = frozenset(), False, False

    def uses(self, watch: int) -> bool:
        """Tell whether a watch is needed."""
        return (watch, SELF) in self._names

    def _release(self, names: frozenset[WatchedName]) -> None:
        for watch, entry in names:
            if entry == SELF:
                self._monitor.release(watch)
