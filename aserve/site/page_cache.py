"""Whether a file's octets are in memory: asked of the kernel, never assumed."""

import ctypes
import mmap

_libc = ctypes.CDLL(None, use_errno=True)

_SYS_CACHESTAT = 451  # the same number on every architecture (Linux 6.5)


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _Pages(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in ("cached", "dirty", "in_writeback", "evicted", "recently_evicted")
    )


def is_cached(descriptor: int, start: int, stop: int) -> bool:
    """Tell whether the octets [start, stop) of a file are in the page cache: cachestat(2).

    False where the kernel cannot tell, and where stop lies beyond the file's end.
    """
    pages = _Pages()
    wanted = _Range(start, stop - start)
    if _libc.syscall(_SYS_CACHESTAT, descriptor, ctypes.byref(wanted), ctypes.byref(pages), 0):
        return False
    first, last = start // mmap.PAGESIZE, (stop - 1) // mmap.PAGESIZE
    return bool(pages.cached >= last - first + 1)
