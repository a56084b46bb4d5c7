"""Which responses depend on which names, and the watches for those names."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from aserve.cache.dependencies import Dependencies
from aserve.cache.path_watcher import WatchedPaths, watch_path
from aserve.filesystem.monitor import ChangeMonitor
from aserve.linux.inotify import SELF, WatchedName

T = TypeVar("T")


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
