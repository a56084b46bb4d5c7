"""One change at a time in a directory, by threads and processes that write through this package."""

import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from aserve.filesystem.writing.errors import Busy

_TIMEOUT_S = 5  # a change is made in less than a millisecond; another program may hold the lock
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.0002, 0.02
_STRIPES = tuple(threading.Lock() for _ in range(64))
"""Locks of this process, each for the directories of a 64th of all inodes."""

# Of file systems that cannot lock a directory (NFS, some FUSE): the lock of this process remains.
_UNSUPPORTED = frozenset(
    {errno.EBADF, errno.EINVAL, errno.EISDIR, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
)


@contextmanager
def locked(*directories: int) -> Iterator[None]:
    """Hold the locks of open directories: no other change comes between a look and its own.

    flock(2) belongs to what was opened, so each call needs descriptors of its own; it ends with the
    process. It binds those that ask for it: programs that do not can still change a name at the
    same moment, as always. Raises Busy where a lock is held for seconds, and OSError.
    """
    deadline = time.monotonic() + _TIMEOUT_S
    by_inode = {_identity(directory): directory for directory in directories}
    with ExitStack() as stack:
        # In one order everywhere, or two moves would wait for each other.
        for index in sorted({inode % len(_STRIPES) for _, inode in by_inode}):
            if not _STRIPES[index].acquire(timeout=max(0, deadline - time.monotonic())):
                raise Busy
            stack.callback(_STRIPES[index].release)
        for identity in sorted(by_inode):
            _lock_file(by_inode[identity], deadline)
            stack.callback(_unlock_file, by_inode[identity])
        yield


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _lock_file(descriptor: int, deadline: float) -> None:
    pause = _FIRST_PAUSE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Busy from None
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            return
        else:
            return
        time.sleep(pause)
        pause = min(2 * pause, _MAX_PAUSE_S)


def _unlock_file(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
