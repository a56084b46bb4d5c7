"""Directories that know their names while they are watched.

What is known is never less than what is there: a name that changes counts as possibly there, and
the kernel decides. So only one answer comes from here, that a name is not there.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial

from aserve.filesystem.directory_names import Entries, read_and_close
from aserve.filesystem.monitor import ChangeMonitor
from aserve.filesystem.mounts import ChangeTracking
from aserve.filesystem.open_beneath import open_real_directory
from aserve.filesystem.open_roots import OpenRoots
from aserve.linux.directory_entries import TYPE_UNKNOWN
from aserve.linux.inotify import SELF, Inotify, WatchedName
from aserve.linux.statx import FileId

_MIN_LOOKUPS = 3
"""Files found in a directory before its names are read: docs/adr/0022-directory-names.md."""

_SIZE_FOR_A_LOOKUP = 4_096
"""Bytes of a directory for each lookup that must come first: to read them takes as long, 0.1 ms."""

_MIN_LOOKUPS_WHEN_FULL = 64  # or many directories that are rarely used would evict each other
_RETRY_AFTER = 1_000
"""Further files where the names could not be read or changed meanwhile, and then twice as many as
before: a directory with too many names is read in vain, 4 MiB of them."""
_MAX_COUNTED = 1_024  # directories whose files are counted
_MAX_DIRECTORIES = 1_024  # watched; and of the watches that may be used, not more than this part:
_WATCH_SHARE = 8
_MAX_READING = 4  # directories at a time, each of which takes a descriptor and a thread
_MAX_BYTES = 16 << 20  # that Python takes for all names
_NAME_OVERHEAD = 112  # bytes that Python takes for a name, besides its own, by tracemalloc

Key = tuple[FileId, bytes]
"""A root directory, and a path below it."""

Submit = Callable[[Callable[[], Entries | None], Callable[[Entries | None], None]], bool]
"""Runs a job in a thread and gives its result to a function in the event loop's thread; returns
False if it cannot."""


class WatchedDirectory:
    """A directory that is watched, and its names if they are known.

    entries: the type of each name that was there when changes were last read; TYPE_UNKNOWN where it
    has changed since the names were read, and may be gone. generation: how many names have changed.
    """

    __slots__ = (
        "children",
        "entries",
        "generation",
        "key",
        "name",
        "parent",
        "size",
        "watch",
    )

    def __init__(self, key: Key, watch: int, parent: "WatchedDirectory | None") -> None:
        self.key = key
        self.watch = watch
        self.parent = parent
        self.name = os.path.basename(key[1])
        self.children: dict[bytes, WatchedDirectory] = {}
        self.entries: Entries | None = None
        self.size = 0  # bytes that Python takes for the names
        self.generation = 0


class WatchedDirectories:
    """The directories below served roots whose names are known; for the event loop's thread alone.

    The root itself is given by its identity each time, so that what is known of it stays true when
    another one takes its place.
    """

    def __init__(self, monitor: ChangeMonitor) -> None:
        self.monitor = monitor
        self.roots = OpenRoots(monitor)
        self._submit: Submit | None = None
        self._by_path: dict[Key, WatchedDirectory] = {}
        self._by_watch: defaultdict[int, set[WatchedDirectory]] = defaultdict(set)
        self._known: dict[Key, WatchedDirectory] = {}  # with names, the oldest first
        self._size = 0  # of all names
        self._lookups: dict[Key, tuple[int, int]] = {}  # how many, and at how many to read names
        self._reading = 0
        monitor.subscribe(self)

    def start(self, submit: Submit) -> None:
        """Begin to read the names of directories, by a function that runs a job in a thread."""
        self._submit = submit

    def get(self, root: FileId, path: bytes) -> WatchedDirectory | None:
        """Return the directory at a path, None if not known. root: as roots.get has just found it.

        No change is read here: roots.get has done it.
        """
        return self._known.get((root, path))

    def count_lookup(self, root_fd: int, root: FileId, path: bytes) -> None:
        """Count that a file was found in a directory whose names are not known.

        After some of them its names are read. root_fd: a descriptor of the root.
        """
        if not self.monitor.inotify:
            return
        key = root, path
        count, due = self._lookups.get(key, (0, 0))
        count += 1
        if len(self._lookups) >= _MAX_COUNTED:
            self._lookups.clear()
        self._lookups[key] = count, due
        if count >= max(due, self._min_lookups()) and self._reading < _MAX_READING:
            due = _size_of(root_fd, path) // _SIZE_FOR_A_LOOKUP
            self._lookups[key] = count, due if due > count else 2 * count + _RETRY_AFTER
            if due <= count:
                self._read_names(root_fd, key)

    def _min_lookups(self) -> int:
        is_full = len(self._by_path) >= self._limit() or self._size > _MAX_BYTES * 15 // 16
        return _MIN_LOOKUPS_WHEN_FULL if is_full else _MIN_LOOKUPS

    def _limit(self) -> int:
        """Return how many directories may be watched."""
        inotify = self.monitor.inotify
        return min(_MAX_DIRECTORIES, inotify.max_watches // _WATCH_SHARE) if inotify else 0

    def on_changes(self, names: Sequence[WatchedName]) -> None:
        """Count changed names as possibly there, and forget what was found beneath them."""
        for watch, name in names:
            for directory in tuple(self._by_watch.get(watch, ())):
                if name == SELF:
                    self._forget(directory)
                else:
                    self._on_changed_name(directory, name)

    def on_reset(self) -> None:
        """Forget all directories: none is watched any more."""
        self._by_path, self._by_watch, self._known = {}, defaultdict(set), {}
        self._size = 0
        self._lookups.clear()

    def uses(self, watch: int) -> bool:
        """Tell whether a watch is that of a directory."""
        return watch in self._by_watch

    def _on_changed_name(self, directory: WatchedDirectory, name: bytes) -> None:
        directory.generation += 1
        if child := directory.children.get(name):
            self._forget(child)
        if directory.entries is None:
            return
        if name not in directory.entries:
            self._add_size(directory, len(name) + _NAME_OVERHEAD)
        directory.entries[name] = TYPE_UNKNOWN
        self._evict_excess()

    def _read_names(self, root_fd: int, key: Key) -> None:
        """Watch a directory, and have a thread read its names.

        Nothing is done where names are not compared byte by byte, or not every change makes an
        event; where a link or a mount is on the path; where reading is not permitted, or watches
        are used up.
        """
        device = key[0][0]
        mounts = self.monitor.mounts
        if mounts.tracking_of(device) is not ChangeTracking.EVENTS or mounts.normalizes(device):
            return
        with suppress(OSError):  # it has gone, may not be read, or no watches are left
            directory = self._watch(root_fd, key)
            if directory and not self._submit_read(root_fd, directory):
                self._forget_unused(directory)

    def _submit_read(self, root_fd: int, directory: WatchedDirectory) -> bool:
        if not self._submit:
            return False
        try:
            descriptor = open_real_directory(root_fd, directory.key[1])
        except OSError:
            return False
        on_done = partial(self._on_read, directory, directory.generation)
        self._reading += 1
        if not self._submit(partial(read_and_close, descriptor), on_done):
            self._reading -= 1
            count, _ = self._lookups[directory.key]
            self._lookups[directory.key] = count, count + _MIN_LOOKUPS  # the threads are busy
            os.close(descriptor)
            return False
        return True

    def _on_read(
        self, directory: WatchedDirectory, generation: int, entries: Entries | None
    ) -> None:
        """Use the names that were read, unless any has changed meanwhile."""
        self._reading -= 1
        self.monitor.process_changes()
        if self._by_path.get(directory.key) is not directory or directory.entries is not None:
            return
        if entries is None or directory.generation != generation:
            self._forget_unused(directory)
            return
        directory.entries = entries
        self._known[directory.key] = directory
        self._lookups.pop(directory.key, None)
        self._add_size(directory, sum(map(len, entries)) + _NAME_OVERHEAD * len(entries))
        self._evict_excess()

    def _watch(self, root_fd: int, key: Key) -> WatchedDirectory | None:
        """Watch a directory and all those on the path to it; None where there are too many.

        Each one is watched before the next one is opened, so that no change is missed in between.
        Raises OSError.
        """
        inotify, keys = self.monitor.inotify, [(key[0], path) for path in _paths_to(key[1])]
        if not inotify or not self._make_room(keys):
            return None
        directory = None
        for each in keys:
            try:
                directory = self._by_path.get(each) or self._add(
                    each, _watch_beneath(inotify, root_fd, each[1]), directory
                )
            except OSError:
                self._forget_unused(directory)
                raise
        return directory

    def _make_room(self, keys: Sequence[Key]) -> bool:
        """Evict as many directories as some others need; tell whether that was possible."""
        limit = self._limit()
        while len(self._by_path) + sum(key not in self._by_path for key in keys) > limit:
            if not self._known:
                return False
            self._evict_oldest()
        return True

    def _add(self, key: Key, watch: int, parent: WatchedDirectory | None) -> WatchedDirectory:
        directory = self._by_path[key] = WatchedDirectory(key, watch, parent)
        self._by_watch[watch].add(directory)
        if parent:
            parent.children[directory.name] = directory
        return directory

    def _add_size(self, directory: WatchedDirectory, size: int) -> None:
        directory.size += size
        self._size += size

    def _evict_excess(self) -> None:
        while self._size > _MAX_BYTES:
            self._evict_oldest()

    def _evict_oldest(self) -> None:
        directory = next(iter(self._known.values()))
        self._forget_names(directory)
        self._forget_unused(directory)

    def _forget(self, directory: WatchedDirectory) -> None:
        """Forget a directory and all beneath it."""
        if directory.parent:
            directory.parent.children.pop(directory.name, None)
        pending = [directory]
        while pending:
            one = pending.pop()
            pending += one.children.values()
            one.children.clear()
            self._remove(one)
        self._forget_unused(directory.parent)

    def _forget_unused(self, directory: WatchedDirectory | None) -> None:
        """Forget a directory, and those on the path to it, as far as nothing is known there."""
        while directory and directory.entries is None and not directory.children:
            self._remove(directory)
            if directory.parent:
                directory.parent.children.pop(directory.name, None)
            directory = directory.parent

    def _forget_names(self, directory: WatchedDirectory) -> None:
        self._known.pop(directory.key, None)
        self._size -= directory.size
        directory.entries, directory.size = None, 0

    def _remove(self, directory: WatchedDirectory) -> None:
        if self._by_path.get(directory.key) is not directory:
            return  # everything was forgotten, and another one is there now
        del self._by_path[directory.key]
        self._forget_names(directory)
        same_inode = self._by_watch[directory.watch]
        same_inode.discard(directory)
        if not same_inode:
            del self._by_watch[directory.watch]
            self.monitor.release(directory.watch)


def _paths_to(path: bytes) -> Iterator[bytes]:
    """Yield the paths of all directories from the root, which is b"", to the one at a path."""
    yield b""
    at = path.find(b"/")
    while at > 0:
        yield path[:at]
        at = path.find(b"/", at + 1)
    if path:
        yield path


def _size_of(root_fd: int, path: bytes) -> int:
    """Return how many bytes the directory at a path takes, the more the more names; 0 if none."""
    try:
        descriptor = open_real_directory(root_fd, path)
    except OSError:
        return 0
    try:
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _watch_beneath(inotify: Inotify, root_fd: int, path: bytes) -> int:
    """Watch the directory at a path, and not what any link on the path may lead to."""
    descriptor = open_real_directory(root_fd, path)
    try:
        return inotify.add_directory(b"/proc/self/fd/%d" % descriptor)
    finally:
        os.close(descriptor)
