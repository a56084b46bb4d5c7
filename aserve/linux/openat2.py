"""openat2(2): open a path under rules for how it may be resolved."""

import ctypes
from collections.abc import Callable
from functools import partial

from aserve.linux.libc import libc

AT_FDCWD = -100
RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_CACHED = 0x20

_SYS_OPENAT2 = 437  # the same number on every architecture (Linux 5.6)


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


HOW_SIZE = ctypes.sizeof(_OpenHow)  # bytes


def open_how(flags: int, resolve: int) -> object:
    """Return a reference to a struct open_how, which is made once and used many times."""
    return ctypes.byref(_OpenHow(flags, 0, resolve))


# No function of ours stands between: it would be a call more for each file.
openat2: Callable[[int, bytes, object, int], int] = partial(libc.syscall, _SYS_OPENAT2)
"""openat2(directory, path, how, HOW_SIZE) returns a descriptor, or -1; libc.get_errno says why."""
