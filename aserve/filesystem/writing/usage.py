"""How many bytes are stored below a root: counted by a walk, and kept up to date between walks."""

import os
import stat
import threading
import time
from collections.abc import Callable, Container
from pathlib import Path

from aserve.filesystem.steps import in_steps
from aserve.filesystem.writing.places import close_directory, open_directory
from aserve.filesystem.writing.tree import walk

_MIN_AGE_S = 1.0
_AGE_FACTOR = 20  # a walk takes at most a twentieth of the time

FileId = tuple[int, int]
"""The device that a file is on, and its inode there."""


class Usage:
    """The sum of the sizes of all files below a root.

    Sizes are those that listings show: a file with holes counts in full, hidden files count, and
    one of several names counts once. What this process stores and deletes is added at once. What
    others do is seen by the next walk: after a second, or 20 times as long as the last walk took.
    """

    def __init__(self, root: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._counted = 0
        self._added = 0  # since the walk began that counted
        self._next_walk = -float("inf")
        self._lock = threading.Lock()  # for the above
        self._walking = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes."""
        return self._counted + self._added

    def add(self, size: int) -> None:
        """Count bytes that were stored, or, less than 0, deleted."""
        with self._lock:
            self._added += size

    def expire(self) -> None:
        """Let the next refresh count again."""
        with self._lock:
            self._next_walk = min(self._next_walk, self._clock())

    def refresh(self, under_way: Callable[[], Container[FileId]]) -> None:
        """Count again if the count is old. under_way: returns files that are counted elsewhere.

        May wait; raises OSError. While another thread counts, the old count is used, if any is.
        """
        if self._clock() < self._next_walk:
            return
        if self._walking.acquire(blocking=self._next_walk < 0):
            try:
                if self._clock() >= self._next_walk:
                    self._walk(under_way())
            finally:
                self._walking.release()

    def _walk(self, under_way: Container[FileId]) -> None:
        began = self._clock()
        with self._lock:
            added = self._added
        counted = bytes_below(self._root, under_way)
        now = self._clock()
        with self._lock:
            self._counted = counted
            # What was stored during the walk may count twice until the next one, but never not.
            self._added -= added
            self._next_walk = now + max(_MIN_AGE_S, _AGE_FACTOR * (now - began))


def bytes_below(root: Path, excluded: Container[FileId] = ()) -> int:
    """Return the sum of the sizes of the files below a root. May wait; raises OSError.

    Links are not followed; directories that cannot be read are left out.
    """
    size = 0
    shared: set[FileId] = set()
    top = open_directory(root, ())
    try:
        for directory in walk(top, lenient=True):
            for name in in_steps(directory.names):
                size += _size(name, directory.descriptor, excluded, shared)
    finally:
        close_directory(top)
    return size


def _size(name: bytes, directory: int, excluded: Container[FileId], shared: set[FileId]) -> int:
    """Return the size of a file that was not counted before. shared: those of several names."""
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return 0  # it has gone
    identity = status.st_dev, status.st_ino
    if not stat.S_ISREG(status.st_mode) or identity in excluded or identity in shared:
        return 0
    if status.st_nlink > 1:
        shared.add(identity)
    return status.st_size
