"""POSIX AIO, aio(7): file reads that the C library carries out on threads of its own.

Completion is notified by a thread (SIGEV_THREAD), and not by a signal: a signal goes to the
process, and any thread that has not blocked it may get it, of which we start only some. That thread
calls close(2) on one end of a pipe, and epoll then reports the other end. So no Python code runs on
a foreign thread, and none waits for the interpreter: this costs a little more than half of what a
callback in Python does.
"""

import ctypes
import os
import select
import struct
import sys
import time
from collections.abc import Callable
from typing import Protocol

from aserve.linux.libc import address_of, check, libc, os_error

OnRead = Callable[[bytes | OSError], None]
"""Gets the data that was read, or the error."""


class OpenFile(Protocol):
    """The file to read from: it stays open as long as this object is referenced."""

    def fileno(self) -> int:
        """Return its descriptor."""


_SIGEV_THREAD = 2
_DRAIN_SECONDS = 1.0

_CLOSE = ctypes.cast(libc.close, ctypes.c_void_p).value


class _SigEvent(ctypes.Structure):
    """sigevent: the function to call when a read is complete, and its argument."""

    _fields_ = (
        ("value", ctypes.c_int64),
        ("signal", ctypes.c_int),
        ("kind", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("_attributes", ctypes.c_void_p),
        ("_", ctypes.c_char * 32),
    )


class _AioControlBlock(ctypes.Structure):
    """aiocb as the GNU C library has it on 64-bit machines; it has private fields between ours."""

    _fields_ = (
        ("file", ctypes.c_int),
        ("_operation", ctypes.c_int),
        ("_priority", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("notification", _SigEvent),
        ("_private", ctypes.c_char * 32),
        ("offset", ctypes.c_int64),
        ("_reserved", ctypes.c_char * 32),
    )


def unavailable_reason() -> str:
    """Return why POSIX AIO cannot be used here, "" where it can."""
    is_known = sys.platform == "linux" and struct.calcsize("P") == 8
    try:
        library = os.confstr("CS_GNU_LIBC_VERSION") if is_known else None
    except (ValueError, OSError):
        library = None
    return "" if library else "aiocb is only known of the GNU C library on 64-bit Linux"


class AioReader:
    """Pending reads of one thread, which polls fileno and then calls process_completions."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._pending: dict[int, tuple[_AioControlBlock, bytearray, OpenFile, OnRead]] = {}

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when reads are complete."""
        return self._epoll.fileno()

    def start_read(self, file: OpenFile, start: int, stop: int, on_read: OnRead) -> None:
        """Read the bytes [start, stop) of a file, or as many of them as it has; raises OSError.

        The file stays open until the read is complete.
        """
        buffer = bytearray(stop - start)
        read_end, write_end = os.pipe()
        notification = _SigEvent(write_end, 0, _SIGEV_THREAD, _CLOSE)
        block = _AioControlBlock(
            file.fileno(), 0, 0, address_of(buffer), len(buffer), notification, b"", start
        )
        try:
            check(libc.aio_read(ctypes.byref(block)))
        except OSError:
            os.close(read_end)
            os.close(write_end)
            raise
        self._pending[read_end] = block, buffer, file, on_read
        self._epoll.register(read_end, 0)  # epoll always reports that the other end was closed

    def process_completions(self, timeout: float = 0) -> None:
        """Call back for each read that is complete; wait for a first one up to timeout seconds."""
        for read_end, _ in self._epoll.poll(timeout):
            os.close(read_end)
            block, buffer, _, on_read = self._pending.pop(read_end)
            error = libc.aio_error(ctypes.byref(block))
            size = libc.aio_return(ctypes.byref(block))
            on_read(os_error(error) if error else bytes(memoryview(buffer)[:size]))

    def close(self) -> None:
        """Wait for pending reads, and call back for them.

        The buffer of a read that does not end, as from a disk that hangs, is kept for the life of
        the process.
        """
        deadline = time.monotonic() + _DRAIN_SECONDS
        while self._pending and (left := deadline - time.monotonic()) > 0:
            self.process_completions(left)
        if self._pending:
            _abandoned.append(self)
        else:
            self._epoll.close()


_abandoned: list[AioReader] = []
