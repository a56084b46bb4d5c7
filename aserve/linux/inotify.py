"""Changes on disk, as inotify reports them.

The kernel queues an event before the call that caused it returns: a server that reads the queue
before it responds never responds with an old state.
"""

import errno
import logging
import os
import select
import struct
from collections.abc import Callable, Iterator
from functools import lru_cache, partial

from aserve.linux.libc import check, libc

_IN_MODIFY = 0x0002
_IN_ATTRIB = 0x0004
_IN_CLOSE_WRITE = 0x0008  # a store through a mapping shows when the file is unmapped and closed
_IN_MOVED = 0x0040 | 0x0080
_IN_CREATE = 0x0100
_IN_DELETE = 0x0200
_IN_DELETE_SELF = 0x0400
_IN_MOVE_SELF = 0x0800
_IN_Q_OVERFLOW = 0x4000
_IN_IGNORED = 0x8000
_IN_ONLYDIR = 0x0100_0000
_IN_MASK_ADD = 0x2000_0000  # an inode has one watch, which may be a directory's for other names
# Of a directory only its names: each file that matters has its own watch, and writes to the other
# files of the directory make no events.
_DIRECTORY_MASK = (
    _IN_ATTRIB | _IN_MOVED | _IN_CREATE | _IN_DELETE | _IN_DELETE_SELF | _IN_MOVE_SELF
    | _IN_ONLYDIR | _IN_MASK_ADD
)  # fmt: skip
_CONTENTS_MASK = _DIRECTORY_MASK | _IN_MODIFY | _IN_CLOSE_WRITE
_FILE_MASK = (
    _IN_MODIFY | _IN_CLOSE_WRITE | _IN_ATTRIB | _IN_DELETE_SELF | _IN_MOVE_SELF | _IN_MASK_ADD
)  # fmt: skip
_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name

WatchedName = tuple[int, bytes]
"""A watch's number, and a name in the watched directory."""

SELF = b""
"""Stands for a name where the watched directory or file itself was changed or removed."""


_READ_SIZE = 16_384  # bytes: 512 events with short names, 1,024 without
MAX_READS = 4
"""Reads of the queue in one call of read_changes. More events than that are a flood: for a program
that writes all the time the server would read events forever, and serve no client."""


# The second one applies within a user namespace, such as a container without root has.
_LIMITS = "/proc/sys/fs/inotify/max_user_watches", "/proc/sys/user/max_inotify_watches"
_DEFAULT_LIMIT = 8_192  # of Linux before 5.11, where /proc does not have it

_logger = logging.getLogger("aserve")


def watch_share(processes: int = 1) -> int:
    """Return how many watches each of several processes may use: together half of the user's.

    The other half is left to the user's other programs, which would otherwise get ENOSPC.
    """
    limits = [limit for path in _LIMITS if (limit := _read_limit(path)) is not None]
    return max(1, min(limits, default=_DEFAULT_LIMIT) // 2 // processes)


def _read_limit(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


class QueueOverflow(Exception):
    """There were more events than the kernel could queue, or than may be read at once."""


class Inotify:
    """The watches of one process. Raises OSError where there is no inotify instance left.

    max_watches: how many watches it may use, None for half of the user's.
    """

    def __init__(self, max_watches: int | None = None) -> None:
        self._descriptor = -1
        self.max_watches = watch_share() if max_watches is None else max_watches
        self._watches: set[int] = set()  # their numbers
        self._epoll = select.epoll()  # first: while there is no other descriptor, it may fail
        self._descriptor = check(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._epoll.register(self._descriptor, select.EPOLLIN)
        self.has_changes: Callable[[], object] = partial(self._epoll.poll, 0, 1)
        """Tells whether there are events to read: one call into C, and no Python frame. epoll for
        one event takes 0.32 us, where ioctl with FIONREAD and a check of its result takes 0.53."""

    def add_directory(self, path: bytes) -> int:
        """Watch the names in the directory that is at a path now; return the watch's number.

        Raises OSError; ENOSPC where the user's watches are used up.
        """
        return self._add(path, _DIRECTORY_MASK)

    def add_contents(self, path: bytes) -> int:
        """Watch the names in a directory as add_directory does, and also writes to its files."""
        return self._add(path, _CONTENTS_MASK)

    def fileno(self) -> int:
        """Return the descriptor that is readable while there are events."""
        return self._descriptor

    def add_file(self, path: bytes) -> int:
        """Watch the file that is at a path now, whichever of its names it is changed through.

        Return the watch's number. Raises OSError as add_directory does.
        """
        return self._add(path, _FILE_MASK)

    def _add(self, path: bytes, mask: int) -> int:
        try:
            watch = check(libc.inotify_add_watch(self._descriptor, path, mask))
        except OSError as error:
            if error.errno == errno.ENOSPC:
                _warn_once()
            raise
        # Only the kernel knows whether the inode was watched before.
        if watch not in self._watches and len(self._watches) >= self.max_watches:
            libc.inotify_rm_watch(self._descriptor, watch)
            _warn_once()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._watches.add(watch)
        return watch

    def remove(self, watch: int) -> None:
        """Remove a watch; it does no harm if the kernel has removed it already."""
        self._watches.discard(watch)
        libc.inotify_rm_watch(self._descriptor, watch)

    def read_changes(self) -> list[WatchedName]:
        """Return each name that has changed since the last call.

        Raises QueueOverflow where the kernel has dropped events, or there are more than MAX_READS
        reads can return.
        """
        names: list[WatchedName] = []
        for _ in range(MAX_READS):
            try:
                names += _changed_names(os.read(self._descriptor, _READ_SIZE), self._watches)
            except BlockingIOError:
                return names
            if not self.has_changes():
                return names
        raise QueueOverflow

    def close(self) -> None:
        """Remove every watch; closing twice does no harm.

        Not to be called in the event loop where there are many watches: the kernel waits until
        nothing uses them any more, which takes some ten milliseconds for 10,000.
        """
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            self._epoll.close()
            os.close(descriptor)

    # The last thread that holds a reference closes it: never while another one uses it.
    __del__ = close


@lru_cache(maxsize=1)
def _warn_once() -> None:
    """Log, once per process, that watches are used up; further files are checked by stat."""
    _logger.warning(
        "half of the user's inotify watches are in use, or all: further files are checked by stat"
        " (raise fs.inotify.max_user_watches)"
    )


def _changed_names(data: bytes, watches: set[int]) -> Iterator[WatchedName]:
    """Yield the name of each event; remove from watches those that the kernel has removed."""
    at = 0
    while at < len(data):
        watch, mask, _, length = _EVENT.unpack_from(data, at)
        if mask & _IN_Q_OVERFLOW:
            raise QueueOverflow
        if mask & _IN_IGNORED:
            watches.discard(watch)
        at += _EVENT.size
        yield watch, data[at : at + length].rstrip(b"\0")
        at += length
