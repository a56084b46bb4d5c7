"""Whether a file's octets are in memory: asked of the kernel, never assumed."""

import ctypes
import mmap

_libc = ctypes.CDLL(None, use_errno=True)

_SYS_CACHESTAT = 451  # the same number on every architecture (Linux 6.5)


_Range = ctypes.c_uint64 * 2  # struct cachestat_range: offset, length
_Pages = ctypes.c_uint64 * 5  # struct cachestat: the first counts pages in the cache


def is_cached(descriptor: int, start: int, stop: int) -> bool:
    """Tell whether the octets [start, stop) of a file are in the page cache: cachestat(2).

    False where the kernel cannot tell, and where stop lies beyond the file's end.
    """
    pages = _Pages()
    if _libc.syscall(_SYS_CACHESTAT, descriptor, _Range(start, stop - start), pages, 0):
        return False
    first, last = start // mmap.PAGESIZE, (stop - 1) // mmap.PAGESIZE
    return bool(pages[0] > last - first)
