"""All that changes below some directories, whatever is created, moved or replaced there.

Where the file system reports changes, inotify tells of them. Everything else is compared from time
to time: other file systems, directories for which no watches are left, files behind links, and the
roots themselves, which a build may replace.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress

from aserve.filesystem.directory_watches import DirectoryWatches
from aserve.filesystem.followed_links import FollowedLinks
from aserve.filesystem.mounts import Mounts
from aserve.filesystem.tree_entries import (
    GONE,
    THERE,
    State,
    TreeDirectory,
    entry_state,
    identity_of,
    is_directory,
    is_file,
    split_path,
    state_at,
)
from aserve.filesystem.visibility import Visibility
from aserve.linux.inotify import SELF, QueueOverflow

MAX_DIRECTORIES = 65_536
"""Directories that are looked at; those beyond are not."""

# What editors and tools write beside the files that matter. Vim creates 4913 to see whether it may.
_IGNORED = re.compile(rb"\.git|node_modules|.*~|\.#.*|.*\.sw[px]|4913", re.DOTALL)


class WatchedTree:
    """The directories below some roots. For one thread at a time.

    roots: the location of each directory or file by its path in the site, which is b"" for the
    whole of it. max_watches: inotify watches that it may use, None for a quarter of the user's.
    """

    def __init__(
        self,
        roots: Mapping[bytes, bytes],
        mounts: Mounts,
        visibility: Visibility,
        *,
        max_watches: int | None = None,
    ) -> None:
        self._roots = roots
        self._mounts = mounts
        self._visibility = visibility
        self._directories: dict[bytes, TreeDirectory] = {}
        self._watches = DirectoryWatches(mounts, max_watches)
        self._followed = FollowedLinks(roots.values(), visibility)
        self._compared: set[bytes] = set()  # the directories that have no watch
        self._root_states: dict[bytes, State] = {}
        self._links: dict[bytes, State] = {}  # what each link leads to, which makes no event here
        self._changed: dict[bytes, bool] = {}  # path: whether it was there before
        self._lost_track = False  # more has changed than could be followed
        self.change_count = 0
        """How many changes were noted, of all that there ever were."""
        self.is_closed = False
        """Any thread may set it, which ends a long scan."""

    @property
    def is_compared(self) -> bool:
        """Whether there is anything that makes no events and must be compared."""
        has_file = any(map(is_file, self._root_states.values()))
        return bool(self._compared or self._links or has_file)

    @property
    def is_partial(self) -> bool:
        """Whether there are too many directories to look at all of them."""
        return len(self._directories) >= MAX_DIRECTORIES

    def fileno(self) -> int:
        """Return the descriptor that is readable when there are events, -1 if there is none."""
        return self._watches.fileno()

    def close(self) -> None:
        """Release all watches; closing twice does no harm."""
        self.is_closed = True
        self._watches.close()

    def take_changes(self) -> set[bytes] | None:
        """Return the paths that have changed since the last call; None where it may be any.

        The path of what was or is a directory has a slash at its end. What was not there before and
        is not there now, such as the temporary file of a save, has not changed.
        """
        changed, self._changed = self._changed, {}
        if self._lost_track:
            self._lost_track = False
            return None
        return {
            path
            for path, was_there in changed.items()
            if (was_there or self._is_there(path)) and self._is_served(path)
        }

    def scan(self) -> None:
        """Look at all directories anew."""
        self._directories.clear()
        self._watches.clear()
        self._compared.clear()
        self._links.clear()
        for path in sorted(self._roots, reverse=True):  # one that is inside another comes first
            self._root_states[path] = state_at(self._roots[path])
            self._add(path, self._roots[path])

    def read_events(self) -> None:
        """Note what inotify tells. Must not be called before there are events."""
        try:
            events = self._watches.read_changes()
        except QueueOverflow:
            self._start_over()
            return
        for watch, name in dict.fromkeys(events):
            for path in self._watches.paths_of(watch):
                if name != SELF:
                    self._check(path, name)
                elif path not in self._roots:  # it may be gone, and its inode another one's
                    self._check(*split_path(path))
                else:
                    self._start_over()
                    return

    def compare(self) -> None:
        """Note what has changed without an event."""
        is_covered = self._mounts.refresh() and any(
            map(self._is_covered, self._directories.values())
        )
        if is_covered or not all(map(self._compare_root, self._roots)):
            self._start_over()
            return
        for path in tuple(self._compared):
            if directory := self._directories.get(path):
                self._compare_entries(directory)
        for path in tuple(self._links):
            self._compare_link(path)

    def _start_over(self) -> None:
        """Begin anew after more changes than could be followed one by one."""
        self.scan()
        self._lost_track = True
        self.change_count += 1

    def _is_covered(self, directory: TreeDirectory) -> bool:
        """Tell whether another directory is there now: mounts elsewhere do not matter."""
        return identity_of(state_at(directory.location)) != directory.identity

    def _compare_root(self, path: bytes) -> bool:
        """Note a change of a root that is a file; tell whether it is still what it was."""
        was, now = self._root_states[path], state_at(self._roots[path])
        self._root_states[path] = now
        if was != now and is_file(was) and is_file(now):
            self._note(path, was_there=True)
            return True
        return was == now

    def _is_there(self, path: bytes) -> bool:
        parent, name = split_path(path.rstrip(b"/"))
        directory = self._directories.get(parent)
        return directory is not None and name in directory.states

    def _is_served(self, path: bytes) -> bool:
        """Tell whether links let a request have what is at a path: others are not reported."""
        parent, name = split_path(path.rstrip(b"/"))
        directory = self._directories.get(parent)
        if path in self._roots or directory is None:
            return True
        return self._followed.leads_to(directory.child(name)[1])

    def _note(self, path: bytes, *, was_there: bool) -> None:
        self._changed.setdefault(path, was_there)
        self.change_count += 1

    def _is_ignored(self, path: bytes, name: bytes) -> bool:
        return _IGNORED.fullmatch(name) is not None or not self._visibility.is_visible(path)

    # One entry.

    def _compare_link(self, path: bytes) -> None:
        parent, name = split_path(path)
        directory = self._directories.get(parent)
        if directory and state_at(directory.child(name)[1]) != self._links.get(path):
            self._check(parent, name)

    def _compare_entries(self, directory: TreeDirectory) -> None:
        try:
            names = os.listdir(directory.location)
        except OSError:
            names = []
        for name in {*names, *directory.states}:
            path, location = directory.child(name)
            is_same = entry_state(location) == directory.states.get(name, GONE)
            if not is_same and not self._is_ignored(path, name):
                self._check(directory.path, name)

    def _check(self, parent: bytes, name: bytes) -> None:
        """Note that an entry may have been created, changed, replaced or removed."""
        directory = self._directories.get(parent)
        if directory is None:
            return
        path, location = directory.child(name)
        if self._is_ignored(path, name) or path in self._roots:  # which is elsewhere
            return
        was_there = directory.states.pop(name, None) is not None
        if state := entry_state(location):
            directory.states[name] = state
        was_directory = path in self._directories
        self._forget(path)
        self._links.pop(path, None)
        if state:
            self._add_entry(path, location)
        has_slash = was_directory or path in self._directories
        if was_there or state:
            self._note(path + b"/" if has_slash else path, was_there=was_there)

    def _add_entry(self, path: bytes, location: bytes) -> None:
        if not os.path.islink(location) or self._follows_link(path, location):
            self._add(path, location)

    def _follows_link(self, path: bytes, location: bytes) -> bool:
        """Remember what a link leads to; tell whether that is a directory to look at as well."""
        self._links[path] = state = state_at(location)
        if not is_directory(state) or not self._followed.allows(location):
            return False
        return not any(one.identity == identity_of(state) for one in self._ancestors(path))

    def _ancestors(self, path: bytes) -> Iterator[TreeDirectory]:
        while path:
            path = path.rpartition(b"/")[0]
            if directory := self._directories.get(path):
                yield directory

    # Directories.

    def _add(self, path: bytes, location: bytes) -> None:
        """Watch a directory and all below it. Each is watched before it is read."""
        pending = [(path, location)]
        while pending and not self.is_closed and not self.is_partial:
            directory = self._open(*pending.pop())
            if directory:
                pending.extend(self._read(directory))

    def _open(self, path: bytes, location: bytes) -> TreeDirectory | None:
        if path in self._directories or self._roots.get(path, location) != location:
            return None
        state = state_at(location)
        if not is_directory(state):
            return None
        directory = TreeDirectory(path, location, identity_of(state))
        self._directories[path] = directory
        parent, name = split_path(path)
        if path not in self._roots:
            self._directories[parent].children.add(name)
        self._watches.add(directory)
        if directory.watch is None:
            self._compared.add(directory.path)
        return directory

    def _read(self, directory: TreeDirectory) -> Iterator[tuple[bytes, bytes]]:
        """Read the names in a directory; yield each directory below it."""
        # OSError: it has gone, or may not be read. Its removal makes an event of the parent.
        with suppress(OSError), os.scandir(directory.location) as entries:
            for entry in entries:
                path, location = directory.child(entry.name)
                if self._is_ignored(path, entry.name):
                    continue
                state = entry_state(location) if directory.watch is None else THERE
                if not state:  # it has gone since, and no comparison would find that
                    continue
                directory.states[entry.name] = state
                is_link = entry.is_symlink()
                if self._follows_link(path, location) if is_link else entry.is_dir():
                    yield path, location

    def _forget(self, path: bytes) -> None:
        """Forget a directory and all below it, if there is one; not a root that is inside."""
        parent, name = split_path(path)
        if parent in self._directories:
            self._directories[parent].children.discard(name)
        pending = [path]
        while pending:
            directory = self._directories.pop(pending.pop(), None)
            if directory:
                pending += (directory.child(name)[0] for name in directory.children)
                self._forget_one(directory)

    def _forget_one(self, directory: TreeDirectory) -> None:
        for name in directory.states:
            self._links.pop(directory.child(name)[0], None)
        self._compared.discard(directory.path)
        self._watches.remove(directory)
