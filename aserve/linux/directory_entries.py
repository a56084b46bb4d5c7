"""The names in a directory and their types, read by getdents64(2) in as few calls as possible.

os.scandir releases the interpreter lock for each name: beside a busy event loop a thread then waits
up to 5 ms for each. Here it does so once for 64 KiB.
"""

import ctypes
from struct import Struct
from typing import Final

from aserve.linux.libc import check, libc

TYPE_UNKNOWN: Final = 0
TYPE_DIRECTORY: Final = 4
TYPE_FILE: Final = 8
TYPE_LINK: Final = 10

_BUFFER_SIZE = 65_536  # bytes: 2,000 names of 12 bytes
# musl has it by its old name.
_getdents64 = libc.getdents64 if hasattr(libc, "getdents64") else libc.getdents
_ENTRY = Struct("=16xHB")  # struct linux_dirent64: inode, offset, length of the entry, type; name


def read_entries(descriptor: int, max_size: int) -> dict[bytes, int] | None:
    """Return the type of each name in an open directory, without "." and "..".

    None where the entries take more than max_size bytes, which the kernel counts as 24 and the
    name. Raises OSError; may wait for a disk.
    """
    entries: dict[bytes, int] = {}
    buffer = ctypes.create_string_buffer(_BUFFER_SIZE)
    size = 0
    while length := check(_getdents64(descriptor, buffer, _BUFFER_SIZE)):
        size += length
        if size > max_size:
            return None
        _parse(buffer.raw[:length], entries)
    entries.pop(b".", None)
    entries.pop(b"..", None)
    return entries


def _parse(data: bytes, entries: dict[bytes, int]) -> None:
    at = 0
    while at < len(data):
        length, kind = _ENTRY.unpack_from(data, at)
        start = at + _ENTRY.size
        entries[data[start : data.index(b"\0", start)]] = kind
        at += length
