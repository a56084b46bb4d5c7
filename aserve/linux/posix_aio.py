"""POSIX AIO, aio(7): reads from files that the C library completes on threads of its own.

Notice of completion is a thread (SIGEV_THREAD), and not a signal: a signal is the process's, and
any thread that has not blocked it would take it, of which we start only some. What that thread
calls is close(2), on one end of a pipe; the other end then tells epoll. So nothing of ours runs on
a foreign thread, and no interpreter is waited for: a little more than half of what Python costs.
"""

import ctypes
import os
import select
import struct
import sys
import time
from collections.abc import Callable
from typing import Protocol

from aserve.linux.memory import address_of

OnRead = Callable[[bytes | OSError], None]
"""Gets what was read, or why nothing was."""


class OpenFile(Protocol):
    """What is read from: it stays open as long as this is held."""

    def fileno(self) -> int:
        """Return its descriptor."""


_SIGEV_THREAD = 2
_DRAIN_SECONDS = 1.0

_libc = ctypes.CDLL(None, use_errno=True)
_CLOSE = ctypes.cast(_libc.close, ctypes.c_void_p).value


class _SigEvent(ctypes.Structure):
    """sigevent: what to call when a read is complete, and with which value."""

    _fields_ = (
        ("value", ctypes.c_int64),
        ("signal", ctypes.c_int),
        ("kind", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("_attributes", ctypes.c_void_p),
        ("_", ctypes.c_char * 32),
    )


class _AioControlBlock(ctypes.Structure):
    """aiocb as the GNU C library has it on 64-bit machines; between its fields are its own."""

    _fields_ = (
        ("file", ctypes.c_int),
        ("_operation", ctypes.c_int),
        ("_priority", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("notice", _SigEvent),
        ("_private", ctypes.c_char * 32),
        ("offset", ctypes.c_int64),
        ("_reserved", ctypes.c_char * 32),
    )


def unavailable_reason() -> str:
    """Return what stands against POSIX AIO here, "" for nothing."""
    known = sys.platform == "linux" and struct.calcsize("P") == 8
    try:
        library = os.confstr("CS_GNU_LIBC_VERSION") if known else None
    except (ValueError, OSError):
        library = None
    return "" if library else "aiocb is only known of the GNU C library on 64-bit Linux"


class AioReader:
    """Reads under way, for one thread, which watches fileno and calls complete when it is ready."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._pending: dict[int, tuple[_AioControlBlock, bytearray, OpenFile, OnRead]] = {}

    def fileno(self) -> int:
        """Return what can be read from when reads are complete."""
        return self._epoll.fileno()

    def start_read(self, content: OpenFile, start: int, stop: int, done: OnRead) -> None:
        """Read the octets of [start, stop), or as many as the file has; raises OSError.

        What is read from stays open for as long.
        """
        buffer = bytearray(stop - start)
        ours, its = os.pipe()
        notice = _SigEvent(its, 0, _SIGEV_THREAD, _CLOSE)
        block = _AioControlBlock(
            content.fileno(), 0, 0, address_of(buffer), len(buffer), notice, b"", start
        )
        if _libc.aio_read(ctypes.byref(block)):
            error = _error(ctypes.get_errno())
            os.close(ours)
            os.close(its)
            raise error
        self._pending[ours] = block, buffer, content, done
        self._epoll.register(ours, 0)  # that the other end is closed is always told

    def process_completions(self, seconds: float = 0) -> None:
        """Call back for all reads that are complete, or wait for one, at most so long."""
        for ours, _ in self._epoll.poll(seconds):
            os.close(ours)
            block, buffer, _, done = self._pending.pop(ours)
            fault = _libc.aio_error(ctypes.byref(block))
            octets = _libc.aio_return(ctypes.byref(block))
            done(_error(fault) if fault else bytes(memoryview(buffer)[:octets]))

    def close(self) -> None:
        """Wait for reads to end and call back for them.

        The memory of one that does not end, as from a disk that hangs, is kept as long as we live.
        """
        deadline = time.monotonic() + _DRAIN_SECONDS
        while self._pending and (left := deadline - time.monotonic()) > 0:
            self.process_completions(left)
        if self._pending:
            _abandoned.append(self)
        else:
            self._epoll.close()


_abandoned: list[AioReader] = []


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
