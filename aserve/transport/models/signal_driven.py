"""Signal-driven I/O: the kernel sends a signal when something about a socket has changed.

Real-time signals, since they are queued and name their descriptor. A signal is only a hint: the
descriptor's number may belong to another connection by the time the signal is read. So the server
tries each descriptor that is hinted at, and gets EAGAIN if there was nothing.
"""

import os
import signal
import stat

from aserve.linux.signalfd import SignalFd, enable_signal
from aserve.transport.multiplexing import MultiplexingServer, Ready

_CHANGED = signal.SIGRTMIN + 1


class SignalPoller:
    """Makes descriptors send signals to the thread that created it, which must be the server's."""

    max_fd = 0
    is_level_triggered = False

    def __init__(self) -> None:
        # The kernel sends a plain SIGIO instead when its signal queue is full.
        self._signals = SignalFd((_CHANGED, signal.SIGIO))
        self._registered: set[int] = set()
        self._untried: set[int] = set()

    def register(self, descriptor: int, *, readable: bool, writable: bool) -> None:  # noqa: ARG002
        """Make a descriptor send signals. It is tried once, for data that came before."""
        if descriptor not in self._registered:
            self._registered.add(descriptor)
            _reopen_shared_pipe(descriptor)
            enable_signal(descriptor, _CHANGED)
        self._untried.add(descriptor)

    def unregister(self, descriptor: int) -> None:
        """Ignore a descriptor's signals, which go on until it is closed.

        To switch them off would be dangerous: the descriptor may be closed by now, and its number
        may belong to a file of another thread.
        """
        self._registered.discard(descriptor)
        self._untried.discard(descriptor)

    def discard_closed(self, descriptor: int) -> None:
        """Do the same for a descriptor that is closed already."""
        self.unregister(descriptor)

    def poll(self, seconds: float) -> Ready:
        """Return what may be ready, after at most this many seconds; all if signals were lost."""
        hinted, self._untried = self._untried, set()
        for number, descriptor, _ in self._signals.read(0 if hinted else seconds):
            if number == signal.SIGIO:
                hinted |= self._registered
            else:
                hinted.add(descriptor)
        return [(descriptor, True) for descriptor in hinted & self._registered]


def _reopen_shared_pipe(descriptor: int) -> None:
    """Reopen a pipe that other processes may share: an open file sends its signals to one thread.

    Forked workers share the pipe that tells them when their supervisor has gone.
    """
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        reopened = os.open(f"/proc/self/fd/{descriptor}", flags)
        os.dup2(reopened, descriptor, inheritable=False)
        os.close(reopened)


class SignalDrivenServer(MultiplexingServer):
    """Signal-driven I/O on one thread."""

    poller_class = SignalPoller
