"""A directory of a watched tree, and the states of its entries."""

import os
import stat

State = tuple[int, ...]
"""What tells two states of a file apart: device, inode, times, size and mode, the mode last.

What changes in a directory is compared by itself: its state is device, inode and mode.
"""

GONE: State = ()
THERE: State = (1,)
"""Of an entry that makes events: no other state of it is needed."""


class TreeDirectory:
    """A directory of the tree.

    path: in the site, without a slash at either end. location: its absolute path. watch: the number
    of its watch, None where it is compared. states: its entries; of those that make events, only
    whether they are there counts. children: the names of those that are directories of the tree.
    """

    __slots__ = ("children", "identity", "location", "path", "states", "watch")

    def __init__(self, path: bytes, location: bytes, identity: State) -> None:
        self.path = path
        self.location = location
        self.identity = identity
        self.watch: int | None = None
        self.states: dict[bytes, State] = {}
        self.children: set[bytes] = set()

    def child(self, name: bytes) -> tuple[bytes, bytes]:
        """Return the path and the location of an entry."""
        return self.path + b"/" + name if self.path else name, os.path.join(self.location, name)


def split_path(path: bytes) -> tuple[bytes, bytes]:
    """Return the path of the directory that an entry is in, and its name."""
    parent, _, name = path.rpartition(b"/")
    return parent, name


def is_file(state: State) -> bool:
    """Tell whether something is there that is no directory."""
    return state != GONE and not stat.S_ISDIR(state[-1])


def is_directory(state: State) -> bool:
    """Tell whether a directory is there."""
    return state != GONE and stat.S_ISDIR(state[-1])


def identity_of(state: State) -> State:
    """Return the device and the inode."""
    return state[:2]


def entry_state(location: bytes) -> State:
    """Return the state of what an entry leads to, or of the entry itself if that leads nowhere."""
    return state_at(location) or state_at(location, follow=False)


def state_at(location: bytes, *, follow: bool = True) -> State:
    """Return the state of a file, GONE if it is not there. follow: that of what a link leads to."""
    try:
        status = os.stat(location, follow_symlinks=follow)
    except OSError:
        return GONE
    identity = status.st_dev, status.st_ino
    if stat.S_ISDIR(status.st_mode):
        return *identity, status.st_mode
    times = status.st_mtime_ns, status.st_ctime_ns
    return *identity, *times, status.st_size, status.st_mode
