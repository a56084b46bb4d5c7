"""statx(2): the state of a file as this kernel knows it, without asking a network."""

import ctypes
import errno
import os
from struct import Struct

from aserve.linux.libc import libc, os_error

_AT_EMPTY_PATH = 0x1000
_AT_STATX_DONT_SYNC = 0x4000
_STATX_SIZE = 256  # bytes
_DEVICE = Struct("II")
_DEVICE_AT = 136  # stx_dev_major, stx_dev_minor


def device_of(descriptor: int) -> int:
    """Return the number of the device that a file is on (st_dev), without asking a network.

    Raises BlockingIOError where that is not possible.
    """
    state = ctypes.create_string_buffer(_STATX_SIZE)
    flags = _AT_EMPTY_PATH | _AT_STATX_DONT_SYNC
    # A libc may be too old for it, and a container's filter may forbid it.
    if not hasattr(libc, "statx") or libc.statx(descriptor, b"", flags, 0, state):
        raise os_error(errno.EAGAIN)
    return os.makedev(*_DEVICE.unpack_from(state, _DEVICE_AT))
