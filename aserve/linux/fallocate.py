"""fallocate(2): take room on the disk for a part of a file that will be written."""

import ctypes

from aserve.linux.libc import libc

_KEEP_SIZE = 1

# The first one has offsets of 64 bits on every machine, where there are two.
_fallocate = getattr(libc, "fallocate64", None) or getattr(libc, "fallocate", None)
if _fallocate:
    _fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def try_allocate(descriptor: int, start: int, size: int) -> bool:
    """Take room for bytes that may be behind the end of a file, which stays where it is.

    Return whether it was done: not every file system can, and a write says what is wrong otherwise.
    """
    return _fallocate is not None and _fallocate(descriptor, _KEEP_SIZE, start, size) == 0
