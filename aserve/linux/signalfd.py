"""Queued signals read from a descriptor: real-time signals that name the descriptor they concern.

This is signalfd(2) and not the standard library's sigwaitinfo, which does not say which descriptor
a signal is about. signalfd also returns many signals at once, and its records have the same layout
on every architecture.
"""

import ctypes
import fcntl
import os
import select
import signal
import struct
import threading
import weakref
from collections.abc import Iterable, Iterator

from aserve.linux.libc import check, libc

_F_SETOWN_EX = 15  # fcntl(2); the standard library has it from Python 3.12 on
_F_OWNER_TID = 0

_RECORD = struct.Struct("I4xi8xi104x")  # signalfd_siginfo: ssi_signo, ssi_code, ssi_fd
_MAX_RECORDS = 64  # read at once


class SignalFd:
    """Signals of the thread that makes it. There they are only queued, and run no handler."""

    def __init__(self, signals: Iterable[int]) -> None:
        self._thread = threading.get_native_id()
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        self._descriptor = _signalfd(signals)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)
        weakref.finalize(self, os.close, self._descriptor)

    def fileno(self) -> int:
        """Return the descriptor, which is readable when a signal is queued."""
        return self._descriptor

    def enable_signal(self, descriptor: int, number: int) -> None:
        """Make a descriptor non-blocking and have it send a signal whenever its state changes.

        The signal goes to this thread and not to the process, where any other thread might get it.
        """
        owner = struct.pack("ii", _F_OWNER_TID, self._thread)
        fcntl.fcntl(descriptor, _F_SETOWN_EX, owner)
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, number)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)

    def read(self, timeout: float) -> Iterator[tuple[int, int]]:
        """Yield (signal number, descriptor) for each queued signal, in order.

        timeout: how many seconds to wait for a first one. The descriptor may have been closed
        since, and its number may be another file's by now.
        """
        if not timeout or self._poll.poll(timeout * 1_000):
            for number, _code, descriptor in _RECORD.iter_unpack(self._read_records()):
                yield number, descriptor

    def _read_records(self) -> bytes:
        try:
            return os.read(self._descriptor, _RECORD.size * _MAX_RECORDS)
        except BlockingIOError:
            return b""


def _signalfd(signals: Iterable[int]) -> int:
    mask = (ctypes.c_ulong * (1_024 // (8 * ctypes.sizeof(ctypes.c_ulong))))()  # sigset_t
    libc.sigemptyset(mask)
    for number in signals:
        libc.sigaddset(mask, number)
    return check(libc.signalfd(-1, mask, os.O_NONBLOCK | os.O_CLOEXEC))
