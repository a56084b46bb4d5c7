"""The visible names of directories, read again whenever anything about them may have changed.

Only names are kept, and only while the directory's own times prove them: each name that comes or
goes changes those. Nothing is kept about what a name leads to: a file that is written in place
changes no time of its directory, and makes no event that could be relied on (mmap, or a hard link
elsewhere), so sizes and times are always asked for.
"""

import os
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from aserve.filesystem.mounts import ChangeTracking, Mounts
from aserve.filesystem.natural_order import sort_naturally
from aserve.filesystem.steps import in_steps, turns
from aserve.linux.directory_entries import TYPE_DIRECTORY, TYPE_FILE

_MAX_DIRECTORIES = 256
_MAX_SIZE = 32 << 20  # bytes of all names
_NAME_OVERHEAD = 160  # bytes that Python takes for a name in a dictionary and a list

# Times come from a clock that ticks every 1 to 10 ms: what has changed since the last tick may
# change again without a new time. 1 s also covers file systems with times in seconds.
_MIN_AGE_NS = 1_100_000_000

State = tuple[int, int, int, int]
"""Of a directory: device, inode, modification and change time in nanoseconds."""


class OrderedNames(NamedTuple):
    """Names in their natural order: those of directories, and those of files."""

    directories: Sequence[bytes]
    files: Sequence[bytes]


class Names:
    """The visible names in a directory, and their types. It does not change; any thread may use it.

    undecided: those of links, and of which the file system does not tell the type.
    """

    def __init__(self, kinds: Mapping[bytes, int]) -> None:
        by_kind: dict[int, list[bytes]] = defaultdict(list)
        for name, kind in in_steps(kinds.items()):
            by_kind[kind].append(name)
        self._directories = by_kind.pop(TYPE_DIRECTORY, [])
        self._files = by_kind.pop(TYPE_FILE, [])
        self.undecided = list(chain.from_iterable(by_kind.values()))
        self.size = sum(map(len, in_steps(kinds))) + _NAME_OVERHEAD * len(kinds)
        self._sorting = threading.Lock()
        self._ordered: tuple[Mapping[bytes, bool], OrderedNames] | None = None

    def in_order(self, decided: Mapping[bytes, bool]) -> OrderedNames:
        """Return the names in their natural order.

        decided: those of the undecided that lead somewhere, and whether that is a directory.
        """
        with turns.waiting_for(self._sorting):  # one thread sorts for all
            return self._in_order(decided)

    def _in_order(self, decided: Mapping[bytes, bool]) -> OrderedNames:
        ordered = self._ordered
        if ordered is None or ordered[0] != decided:
            links = [name for name, is_directory in decided.items() if is_directory]
            others = [name for name, is_directory in decided.items() if not is_directory]
            names = OrderedNames(
                sort_naturally([*self._directories, *links]),
                sort_naturally([*self._files, *others]),
            )
            ordered = self._ordered = decided, names
        return ordered[1]


class _Slot(NamedTuple):
    """One directory, of which one thread at a time reads the names."""

    lock: threading.Lock
    known: list[tuple[State, Names]]


class NamesCache:
    """The names of the directories that were listed last. clock: POSIX time in nanoseconds."""

    def __init__(self, mounts: Mounts, clock: Callable[[], int] = time.time_ns) -> None:
        self._mounts = mounts
        self._clock = clock
        self._lock = threading.Lock()
        self._slots: OrderedDict[Hashable, _Slot] = OrderedDict()

    def get(self, key: Hashable, directory: int, read: Callable[[], Mapping[bytes, int]]) -> Names:
        """Return the names in a directory that is open; read is called unless they are known.

        key: what decides which names are visible, its path for example. Raises OSError.
        """
        with self._lock:
            slot = self._slots.setdefault(key, _Slot(threading.Lock(), []))
            self._slots.move_to_end(key)
        with turns.waiting_for(slot.lock):
            # Asked for before the names are read: a later change makes another state.
            state = _state(directory)
            if slot.known and slot.known[0][0] == state:
                return slot.known[0][1]
            names = Names(read())
            slot.known[:] = [(state, names)] if self._proves(state) else []
        self._evict_excess()
        return names

    def _proves(self, state: State) -> bool:
        """Tell whether another change will be seen in the state of a directory."""
        is_local = self._mounts.tracking_of(state[0]) is not ChangeTracking.NONE
        return is_local and max(state[2:]) + _MIN_AGE_NS < self._clock()

    def _evict_excess(self) -> None:
        with self._lock:
            size = sum(map(_size, self._slots.values()))
            while size > _MAX_SIZE or len(self._slots) > _MAX_DIRECTORIES:
                size -= _size(self._slots.popitem(last=False)[1])


def _size(slot: _Slot) -> int:
    return sum(names.size for _, names in slot.known)


def _state(directory: int) -> State:
    status = os.fstat(directory)
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
