"""The C library, and what every call to it needs: its error number, and the address of a buffer."""

import ctypes
import mmap
import os

libc = ctypes.CDLL(None, use_errno=True)

get_errno = ctypes.get_errno
"""Return the error number of this thread's last call; only a call that has failed sets it."""


def check(result: int) -> int:
    """Return the result of a call; raise OSError by errno where it is negative."""
    if result < 0:
        raise os_error(get_errno())
    return result


def os_error(number: int) -> OSError:
    """Return the OSError of an error number, with the system's text for it."""
    return OSError(number, os.strerror(number))


def system_call(number: int, *arguments: int) -> int:
    """Make a system call that the C library has no function for; raise OSError where it fails."""
    result = int(libc.syscall(number, *map(ctypes.c_long, arguments)))
    return result if result >= 0 else check(result)


def address_of(buffer: bytes | bytearray | memoryview | mmap.mmap) -> int:
    """Return the address of a buffer's bytes, which is valid as long as the buffer is referenced.

    A bytearray must not change its length meanwhile.
    """
    if isinstance(buffer, bytes):
        return ctypes.cast(ctypes.c_char_p(buffer), ctypes.c_void_p).value or 0
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
