"""POSIX AIO, aio(7), on sockets and files: completed operations are announced by a queued signal.

The kernel has no part in it but the signal: the GNU C library carries out each operation by a
blocking read(2), write(2) or pread(2) on a helper thread of its own. What follows from that:

- A read of a socket keeps a helper for as long as the client is silent. There are 20 of them unless
  aio_init(3) says otherwise before the first operation; a further operation waits for a free one.
- Operations on one descriptor are carried out one after another: a write waits for the read that
  was started before it. They are told apart by the descriptor's number, so that a descriptor must
  stay open until its operations are complete.
- An operation that has begun cannot be cancelled (AIO_NOTCANCELED). shutdown(2) ends those on a
  socket.

The signal is a real-time one, whose value says which operation is complete. It goes to the
process: every thread must block it (the library's helpers block all signals), and it is read from
a signalfd. Each operation is started by lio_listio(3) as a list of one. Where aio_read(3) finds
the signal queue full (RLIMIT_SIGPENDING), it overwrites the operation's result with EAGAIN, and
it is unknown how much was read; lio_listio leaves the result, and find_unannounced gets it.
"""

import ctypes
import errno
import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from itertools import count
from typing import NamedTuple

from aserve.linux.libc import address_of, check, libc
from aserve.linux.signalfd import SignalFd

COMPLETED = signal.SIGRTMIN + 2
"""The signal that announces a completed operation. Every thread of the process must block it."""

OnComplete = Callable[[int], object]
"""Gets the result that the system call of the same name would return, or a negative errno."""

_SIGEV_SIGNAL, _SIGEV_NONE = 0, 1
_LIO_READ, _LIO_WRITE = 0, 1
_LIO_NOWAIT = 1
_DRAIN_SECONDS = 1.0


class _SigEvent(ctypes.Structure):
    """sigevent: which signal to send when an operation is complete, and its value."""

    _fields_ = (
        ("value", ctypes.c_int64),
        ("signal", ctypes.c_int),
        ("kind", ctypes.c_int),
        ("_", ctypes.c_char * 48),
    )


class _AioControlBlock(ctypes.Structure):
    """aiocb as the GNU C library has it on 64-bit machines; it has private fields between ours."""

    _fields_ = (
        ("file", ctypes.c_int),
        ("opcode", ctypes.c_int),
        ("_priority", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("notification", _SigEvent),
        ("_private", ctypes.c_char * 16),
        ("error", ctypes.c_int),
        ("_result", ctypes.c_ssize_t),
        ("offset", ctypes.c_int64),
        ("_reserved", ctypes.c_char * 32),
    )


class _AioInit(ctypes.Structure):
    """aioinit, of which the library uses the first two fields and the last but one."""

    _fields_ = tuple(
        (name, ctypes.c_int)
        for name in ("threads", "num", "_locks", "_usedba", "_debug", "_numusers", "idle", "_")
    )


class _Operation(NamedTuple):
    """What must stay in memory until an operation is complete."""

    block: _AioControlBlock
    buffer: bytes | bytearray
    on_complete: OnComplete


def unavailable_reason() -> str:
    """Return why POSIX AIO cannot be used here, "" where it can."""
    is_known = sys.platform == "linux" and struct.calcsize("P") == 8
    try:
        library = os.confstr("CS_GNU_LIBC_VERSION") if is_known else None
    except (ValueError, OSError):
        library = None
    return "" if library else "aiocb is only known of the GNU C library on 64-bit Linux"


class PosixAio:
    """Operations in flight. Any thread may start some; one thread gets all completions.

    That thread creates it, polls fileno, and calls process_completions; find_unannounced once a
    second. max_operations: how many can be in flight at once, each with a helper thread; the
    library takes this from the first PosixAio of a process only. A process has one at a time: the
    signal and the helpers belong to the process. Raises OSError (EBUSY) for a second one.
    """

    _is_in_use = False

    def __init__(self, max_operations: int) -> None:
        if PosixAio._is_in_use:
            raise OSError(errno.EBUSY, "POSIX AIO is in use by another server of this process")
        self._signals = SignalFd((COMPLETED,))
        settings = _AioInit(threads=max_operations, num=max_operations, idle=1)
        libc.aio_init(ctypes.byref(settings))
        self._pending: dict[int, _Operation] = {}
        self._keys = count(1)
        PosixAio._is_in_use = True

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when operations are complete."""
        return self._signals.fileno()

    def read(self, file: int, start: int, buffer: bytearray, on_complete: OnComplete) -> None:
        """Read from a file, at offset start, into a buffer; from a socket, what comes next.

        Raises OSError if it cannot be started.
        """
        self._start(_LIO_READ, file, start, buffer, on_complete)

    def write(self, file: int, data: bytes, on_complete: OnComplete) -> None:
        """Write data to a socket, which is blocking: all of it, unless the connection ends.

        Raises OSError if it cannot be started.
        """
        self._start(_LIO_WRITE, file, 0, data, on_complete)

    def cancel(self, file: int) -> None:
        """Cancel the operations on a descriptor that have not begun: they complete (ECANCELED)."""
        libc.aio_cancel(file, None)

    def process_completions(self, timeout: float = 0) -> int:
        """Call back for each announced completion; wait for a first one up to timeout seconds.

        Return how many operations were complete.
        """
        keys = [record.value for record in self._signals.read(timeout)]
        return sum(self._complete(key) for key in keys)

    def find_unannounced(self) -> int:
        """Call back for each operation that is complete, with or without a signal.

        Return how many there were. A full signal queue sends no signals.
        """
        complete = [key for key, one in list(self._pending.items()) if not _is_in_progress(one)]
        return sum(self._complete(key) for key in complete)

    def close(self) -> None:
        """Wait for pending operations, and call back for them.

        The memory of one that does not end, as a read from a disk that hangs, is kept for the life
        of the process.
        """
        deadline = time.monotonic() + _DRAIN_SECONDS
        while self._pending and (left := deadline - time.monotonic()) > 0:
            self.process_completions(min(left, 0.01))
            self.find_unannounced()
        if self._pending:
            _abandoned.append(self._pending)
        PosixAio._is_in_use = False

    def _start(
        self,
        opcode: int,
        file: int,
        start: int,
        buffer: bytes | bytearray,
        on_complete: OnComplete,
    ) -> None:
        silent = _SigEvent(0, 0, _SIGEV_NONE)
        block = _AioControlBlock(
            file, opcode, 0, address_of(buffer), len(buffer), silent, offset=start
        )
        block.error = errno.EINPROGRESS  # also until it is started: find_unannounced may look at it
        key = next(self._keys)
        self._pending[key] = _Operation(block, buffer, on_complete)
        notification = _SigEvent(key, COMPLETED, _SIGEV_SIGNAL)
        blocks = (ctypes.c_void_p * 1)(ctypes.addressof(block))
        try:
            check(libc.lio_listio(_LIO_NOWAIT, blocks, 1, ctypes.byref(notification)))
        except OSError:
            # Out of memory: it has not begun, or it has and will not be announced.
            if libc.aio_error(ctypes.byref(block)) != errno.EINPROGRESS:
                del self._pending[key]
                raise

    def _complete(self, key: int) -> bool:
        """Call back for an operation, unless that was done already. Return whether it was now."""
        operation = self._pending.pop(key, None)
        if not operation:
            return False
        block = ctypes.byref(operation.block)
        error = libc.aio_error(block)
        size = libc.aio_return(block)
        operation.on_complete(-error if error else size)
        return True


def _is_in_progress(operation: _Operation) -> bool:
    return bool(libc.aio_error(ctypes.byref(operation.block)) == errno.EINPROGRESS)


_abandoned: list[dict[int, _Operation]] = []
