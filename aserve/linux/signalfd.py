"""A queue of signals as a descriptor: real-time signals that name the file they are about.

signalfd(2), and not the standard library's sigwaitinfo, which does not tell which file has sent a
signal. It also takes many signals at once, and its records are laid out alike on every machine.
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

_libc = ctypes.CDLL(None, use_errno=True)

_F_SETOWN_EX = 15  # fcntl(2); the standard library knows it from Python 3.12 on
_F_OWNER_TID = 0

_RECORD = struct.Struct("I4xi8xi104x")  # signalfd_siginfo: ssi_signo, ssi_code, ssi_fd
_MAX_RECORDS = 64  # read at once


class SignalFd:
    """Signals for the thread that makes it. There, they do nothing else any more."""

    def __init__(self, signals: Iterable[int]) -> None:
        self._thread = threading.get_native_id()
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        self._descriptor = _signalfd(signals)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)
        weakref.finalize(self, os.close, self._descriptor)

    def enable_signal(self, descriptor: int, number: int) -> None:
        """Let a non-blocking descriptor send a signal whenever something about it has changed.

        To this thread and not to the process, of whose threads any other might take it.
        """
        owner = struct.pack("ii", _F_OWNER_TID, self._thread)
        fcntl.fcntl(descriptor, _F_SETOWN_EX, owner)
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, number)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)

    def read(self, seconds: float) -> Iterator[tuple[int, int]]:
        """Yield signals that are there, in order, or that come within so long: number, descriptor.

        The descriptor may have been closed since, and its number may be another file's by now.
        """
        if not seconds or self._poll.poll(seconds * 1_000):
            for number, _code, descriptor in _RECORD.iter_unpack(self._read_records()):
                yield number, descriptor

    def _read_records(self) -> bytes:
        try:
            return os.read(self._descriptor, _RECORD.size * _MAX_RECORDS)
        except BlockingIOError:
            return b""


def _signalfd(signals: Iterable[int]) -> int:
    chosen = (ctypes.c_ulong * (1_024 // (8 * ctypes.sizeof(ctypes.c_ulong))))()  # sigset_t
    _libc.sigemptyset(chosen)
    for number in signals:
        _libc.sigaddset(chosen, number)
    descriptor: int = _libc.signalfd(-1, chosen, os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return descriptor
