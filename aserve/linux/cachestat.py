"""Whether a part of a file is in the page cache: the kernel is asked, nothing is assumed."""

import ctypes
import mmap

from aserve.linux.libc import libc

_SYS_CACHESTAT = 451  # the same number on every architecture (Linux 6.5)


_Range = ctypes.c_uint64 * 2  # struct cachestat_range: offset, length
_Pages = ctypes.c_uint64 * 5  # struct cachestat: the first counts pages in the cache


def is_cached(descriptor: int, start: int, stop: int) -> bool:
    """Tell whether the bytes [start, stop) of a file are in the page cache: cachestat(2).

    False where the kernel does not have the call, and where stop lies beyond the file's end.
    """
    pages = _Pages()
    if libc.syscall(_SYS_CACHESTAT, descriptor, _Range(start, stop - start), pages, 0):
        return False
    first, last = start // mmap.PAGESIZE, (stop - 1) // mmap.PAGESIZE
    return bool(pages[0] > last - first)
