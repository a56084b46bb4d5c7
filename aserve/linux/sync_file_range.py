"""sync_file_range(2): begin to write a part of a file to the disk, and do not wait for it."""

import ctypes

from aserve.linux.libc import libc

_SYNC_FILE_RANGE_WRITE = 2

_sync_file_range = getattr(libc, "sync_file_range", None)
if _sync_file_range:
    # Offsets are of 64 bits on every machine.
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


def begin_write_out(descriptor: int, start: int, size: int) -> None:
    """Let the kernel begin to write bytes of a file to its disk.

    A hint: an error is no error here, since the fsync that follows has it again. It waits only
    where the disk's queue is full, as write(2) does.
    """
    if _sync_file_range:
        _sync_file_range(descriptor, start, size, _SYNC_FILE_RANGE_WRITE)
