"""Queued signals read from a descriptor: real-time signals that say what they concern.

This is signalfd(2) and not the standard library's sigwaitinfo, which does not say which descriptor
a signal is about, nor its value. signalfd also returns many signals at once, and its records have
the same layout on every architecture.
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
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from aserve.linux.libc import check, libc

_F_SETOWN_EX = 15  # fcntl(2); the standard library has it from Python 3.12 on
_F_OWNER_TID = 0

_RECORD = struct.Struct("I16xi24xQ72x")  # signalfd_siginfo: ssi_signo, ssi_fd, ssi_ptr
_MAX_RECORDS = 64  # read at once


class SignalRecord(NamedTuple):
    """A queued signal.

    descriptor: which one it concerns, of a signal that a descriptor has sent; it may have been
    closed since, and its number may be another file's by now. value: what its sender gave it.
    """

    number: int
    descriptor: int
    value: int


def block_signals(signals: Iterable[int]) -> None:
    """Block signals in this thread, and so in all threads that it starts from now on."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)


def thread_that_accepts(number: int) -> int:
    """Return a thread of this process that has not blocked a signal, 0 if all have (proc(5))."""
    for thread in os.listdir("/proc/self/task"):
        with suppress(OSError):  # it has ended
            status = Path(f"/proc/self/task/{thread}/status").read_text("utf-8", "replace")
            fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
            is_blocked = int(fields["SigBlk"], 16) >> number - 1 & 1
            is_ending = fields["State"][0] in "ZX"  # with an empty mask
            if not (is_blocked or is_ending):
                return int(thread)
    return 0


def enable_signal(descriptor: int, number: int = 0) -> None:
    """Make a descriptor non-blocking, and have it send a signal whenever its state changes.

    The signal goes to this thread and not to the process, where any other thread might get it.
    number: a real-time signal, which is queued and names the descriptor; 0 for SIGIO.
    """
    owner = struct.pack("ii", _F_OWNER_TID, threading.get_native_id())
    fcntl.fcntl(descriptor, _F_SETOWN_EX, owner)
    if number:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, number)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)


class SignalFd:
    """Signals of the thread that makes it. There they are only queued, and run no handler."""

    def __init__(self, signals: Iterable[int]) -> None:
        block_signals(signals)
        self._descriptor = _signalfd(signals)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)
        # Not at the end of the program, where a thread that is no obstacle to it may still read.
        weakref.finalize(self, os.close, self._descriptor).atexit = False

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when a signal is queued."""
        return self._descriptor

    def read(self, timeout: float) -> Iterator[SignalRecord]:
        """Yield each queued signal, in order.

        timeout: how many seconds to wait for a first one.
        """
        if not timeout or self._poll.poll(timeout * 1_000):
            yield from map(SignalRecord._make, _RECORD.iter_unpack(self._read_records()))

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
