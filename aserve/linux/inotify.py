"""What has changed on disk, told by inotify at once.

An event is queued before the call that caused it returns: who looks before answering never answers
with what was.
"""

import ctypes
import errno
import logging
import os
import select
import struct
from collections.abc import Callable, Iterator
from functools import lru_cache, partial

_libc = ctypes.CDLL(None, use_errno=True)

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
# Of a directory only its names: each file that counts is watched itself, and whoever writes to
# another one beside it tells us nothing.
_DIRECTORY_MASK = (
    _IN_ATTRIB | _IN_MOVED | _IN_CREATE | _IN_DELETE | _IN_DELETE_SELF | _IN_MOVE_SELF
    | _IN_ONLYDIR | _IN_MASK_ADD
)  # fmt: skip
_FILE_MASK = (
    _IN_MODIFY | _IN_CLOSE_WRITE | _IN_ATTRIB | _IN_DELETE_SELF | _IN_MOVE_SELF | _IN_MASK_ADD
)  # fmt: skip
_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name

WatchedName = tuple[int, bytes]
"""A name in a watched folder."""

SELF = b""
"""In place of a name: the watched folder's own end or change."""


_READ_SIZE = 16_384  # bytes: 512 events with short names, 1,024 without
MAX_READS = 4
"""Reads in one look. Who finds still more behind them is faced with a flood: a program that writes
all the time would be listened to for ever, and nobody else be served."""


# The second counts within a user namespace, such as a container without root has.
_LIMITS = "/proc/sys/fs/inotify/max_user_watches", "/proc/sys/user/max_inotify_watches"
_USUAL_LIMIT = 8_192  # Linux before 5.11, where /proc does not tell

_logger = logging.getLogger("aserve")


def watch_share(processes: int = 1) -> int:
    """Return how many watches each of some processes may take: half of the user's together.

    The other half is left to the user's other programs, which would get ENOSPC for what we took.
    """
    limits = [limit for path in _LIMITS if (limit := _limit(path)) is not None]
    return max(1, min(limits, default=_USUAL_LIMIT) // 2 // processes)


def _limit(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as limit:
            return int(limit.read())
    except (OSError, ValueError):
        return None


class QueueOverflow(Exception):
    """More has changed than the kernel could tell, or than can be listened to."""


class Inotify:
    """What one process watches. Raises OSError where inotify cannot be had.

    most: how many watches it may take, None for half of the user's.
    """

    def __init__(self, max_watches: int | None = None) -> None:
        self._descriptor = -1
        self._max_watches = watch_share() if max_watches is None else max_watches
        self._numbers: set[int] = set()
        self._descriptor = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._epoll = select.epoll()
        self._epoll.register(self._descriptor, select.EPOLLIN)
        self.has_changes: Callable[[], object] = partial(self._epoll.poll, 0, 1)
        """Tells whether there is anything to drain: one call into C and no frame. epoll for one
        event takes 0.32 us, where ioctl with FIONREAD and a look at its answer takes 0.53."""

    def add(self, folder: bytes) -> int:
        """Watch the names in the folder that is at a path now, and return its number.

        Raises OSError; ENOSPC where the user's watches are used up.
        """
        return self._add(folder, _DIRECTORY_MASK)

    def add_file(self, path: bytes) -> int:
        """Watch the file that is at a path now, whatever name it is changed through."""
        return self._add(path, _FILE_MASK)

    def _add(self, path: bytes, mask: int) -> int:
        try:
            number = _checked(_libc.inotify_add_watch(self._descriptor, path, mask))
        except OSError as error:
            if error.errno == errno.ENOSPC:
                _warn_once()
            raise
        # Only the kernel knows whether it was watched before.
        if number not in self._numbers and len(self._numbers) >= self._max_watches:
            _libc.inotify_rm_watch(self._descriptor, number)
            _warn_once()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._numbers.add(number)
        return number

    def remove(self, number: int) -> None:
        """Give a watch up; that it is gone already is no harm."""
        self._numbers.discard(number)
        _libc.inotify_rm_watch(self._descriptor, number)

    def read_changes(self) -> list[WatchedName]:
        """Return each place that has changed since the last time.

        Raises Overflow where that cannot be told, or is more than one look may read.
        """
        places: list[WatchedName] = []
        for _ in range(MAX_READS):
            try:
                places += _changed_names(os.read(self._descriptor, _READ_SIZE), self._numbers)
            except BlockingIOError:
                return places
            if not self.has_changes():
                return places
        raise QueueOverflow

    def close(self) -> None:
        """Give up every watch; more than once is harmless.

        Not for the loop where many are watched: the kernel waits for whoever may still look at
        one, and 10,000 take it some ten milliseconds.
        """
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            self._epoll.close()
            os.close(descriptor)

    # The last thread that works with it closes it: never under another's hands.
    __del__ = close


@lru_cache(maxsize=1)
def _warn_once() -> None:
    """Say that watches are short: once in a process, which then asks files for their state."""
    _logger.warning(
        "half of the user's inotify watches are in use, or all: replies for further files are"
        " checked by stat each time (raise fs.inotify.max_user_watches)"
    )


def _changed_names(octets: bytes, numbers: set[int]) -> Iterator[WatchedName]:
    """Yield the place of each event; watches that the kernel has ended leave numbers."""
    at = 0
    while at < len(octets):
        watch, mask, _, length = _EVENT.unpack_from(octets, at)
        if mask & _IN_Q_OVERFLOW:
            raise QueueOverflow
        if mask & _IN_IGNORED:
            numbers.discard(watch)
        at += _EVENT.size
        yield watch, octets[at : at + length].rstrip(b"\0")
        at += length


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
