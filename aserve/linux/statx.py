"""statx(2): the state of a file as this kernel knows it, without asking a network."""

import ctypes
import errno
import os
from struct import Struct

from aserve.linux.libc import libc, os_error

_AT_EMPTY_PATH = 0x1000
_AT_STATX_DONT_SYNC = 0x4000
_STATX_SIZE = 256  # bytes
_STATX_INO = 0x100
_INODE = Struct("Q")
_INODE_AT = 32  # stx_ino
_DEVICE = Struct("II")
_DEVICE_AT = 136  # stx_dev_major, stx_dev_minor

FileId = tuple[int, int]
"""The device that a file is on, and its inode there: st_dev and st_ino."""


def file_id(descriptor: int) -> FileId:
    """Return which file a descriptor is of, without asking a network.

    Raises BlockingIOError where that is not possible.
    """
    state = ctypes.create_string_buffer(_STATX_SIZE)
    flags = _AT_EMPTY_PATH | _AT_STATX_DONT_SYNC
    # A libc may be too old for it, and a container's filter may forbid it.
    if not hasattr(libc, "statx") or libc.statx(descriptor, b"", flags, _STATX_INO, state):
        raise os_error(errno.EAGAIN)
    (inode,) = _INODE.unpack_from(state, _INODE_AT)
    return os.makedev(*_DEVICE.unpack_from(state, _DEVICE_AT)), inode
