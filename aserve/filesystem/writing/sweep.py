"""What uploads that never ended have left is removed."""

import fcntl
import os

from aserve.filesystem.writing.temporary import PREFIX
from aserve.filesystem.writing.tree import TreeDirectory

MAX_AGE_S = 3600
"""How long a temporary file stays that nothing writes to."""

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def remove_abandoned(now: float, directory: TreeDirectory) -> int:
    """Remove the temporary files of a directory that nothing writes to, and return how many.

    now: in seconds, as time.time returns.
    """
    names = [name for name in directory.names if name.startswith(PREFIX)]
    return sum(_remove_if_abandoned(directory.descriptor, name, now) for name in names)


def _remove_if_abandoned(directory: int, name: bytes, now: float) -> bool:
    try:
        descriptor = os.open(name, _FLAGS, dir_fd=directory)
    except OSError:
        return False  # it has its name by now, or is not ours
    try:
        if now - os.fstat(descriptor).st_mtime < MAX_AGE_S:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=directory)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
