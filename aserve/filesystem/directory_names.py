"""The names in a directory, where their bytes decide which file they lead to."""

import fcntl
import os
import sys
from contextlib import suppress

from aserve.linux.directory_entries import read_entries

_MAX_ENTRIES_SIZE = 4 << 20  # bytes of one directory's entries, as the kernel returns them
_FS_IOC_GETFLAGS = 0x8008_6601
_FS_CASEFOLD_FL = 0x4000_0000

Entries = dict[bytes, int]
"""Names in a directory, and their types: TYPE_FILE, TYPE_DIRECTORY and so on, or TYPE_UNKNOWN."""


def read_and_close(descriptor: int) -> Entries | None:
    """Return the names in an open directory; None where they are too many, or cannot be used."""
    try:
        entries = read_entries(descriptor, _MAX_ENTRIES_SIZE)
        return None if entries is None or _ignores_case(descriptor, entries) else entries
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _ignores_case(directory: int, entries: Entries) -> bool:
    """Tell whether a directory also finds a name by other bytes, in another case for example.

    ext4, f2fs and tmpfs say so in a flag of the directory. XFS does it for ASCII letters in a whole
    file system, which any name with such letters shows.
    """
    flags = bytearray(8)
    with suppress(OSError):  # ENOTTY: a file system without flags
        fcntl.ioctl(directory, _FS_IOC_GETFLAGS, flags)
    if int.from_bytes(flags, sys.byteorder) & _FS_CASEFOLD_FL:
        return True
    name = next((name for name in entries if name != name.swapcase()), None)
    if name is None or name.swapcase() in entries:
        return False
    try:
        os.lstat(name.swapcase(), dir_fd=directory)
    except FileNotFoundError:
        return False
    return True
