"""Where octets lie, for those who tell the kernel."""

import ctypes
import mmap


def address_of(buffer: bytes | bytearray | memoryview | mmap.mmap) -> int:
    """Return where a buffer's octets are; they stay there while somebody holds the buffer.

    A bytearray must not change its length meanwhile.
    """
    if isinstance(buffer, bytes):
        return ctypes.cast(ctypes.c_char_p(buffer), ctypes.c_void_p).value or 0
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
