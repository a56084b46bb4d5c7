"""Signal-driven I/O: the kernel sends a signal when something about a socket has changed.

Real-time signals, since they queue and name their descriptor. What they say is a hint and no more:
a descriptor's number may be another connection's by the time its signal is taken, hence whatever
is hinted at is tried, and says EAGAIN where there was nothing in it.
"""

import os
import signal
import stat

from aserve.handlers.static_site import StaticSite
from aserve.http1.limits import Limits
from aserve.linux.signalfd import SignalFd
from aserve.transport.eventloop.connection_host import ResponseObserver
from aserve.transport.multiplexing import MultiplexingServer, Ready

_CHANGED = signal.SIGRTMIN + 1


class SignalPoller:
    """Each descriptor sends its signal to the thread that made this, which must be the server's."""

    max_fd = 0
    is_level_triggered = False

    def __init__(self) -> None:
        # The kernel sends a plain SIGIO in place of a signal for which its queue has no room.
        self._signals = SignalFd((_CHANGED, signal.SIGIO))
        self._watched: set[int] = set()
        self._untried: set[int] = set()

    def register(self, descriptor: int, *, readable: bool, writable: bool) -> None:  # noqa: ARG002
        """Let a descriptor send signals, whatever is wanted of it; what came before sent none."""
        if descriptor not in self._watched:
            self._watched.add(descriptor)
            _reopen_shared_pipe(descriptor)
            self._signals.enable_signal(descriptor, _CHANGED)
        self._untried.add(descriptor)

    def unregister(self, descriptor: int) -> None:
        """Watch a descriptor no more.

        Its signals go on until it is closed. Switching them off would be dangerous: it may be
        closed by now, and its number another thread's file.
        """
        self._watched.discard(descriptor)
        self._untried.discard(descriptor)

    def poll(self, seconds: float) -> Ready:
        """Return what may be ready, after at most so long; everything, if signals were lost."""
        hinted, self._untried = self._untried, set()
        for number, descriptor in self._signals.read(0 if hinted else seconds):
            if number == signal.SIGIO:
                hinted |= self._watched
            else:
                hinted.add(descriptor)
        return [(descriptor, True) for descriptor in hinted & self._watched]


def _reopen_shared_pipe(descriptor: int) -> None:
    """Open a pipe anew if others may hold it, too: a file's signals go to one thread only.

    Workers that were forked share the pipe which tells them that their supervisor is gone.
    """
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        anew = os.open(f"/proc/self/fd/{descriptor}", flags)
        os.dup2(anew, descriptor, inheritable=False)
        os.close(anew)


class SignalDrivenServer(MultiplexingServer):
    """Signals for one thread."""

    def __init__(
        self, site: StaticSite, limits: Limits, observe: ResponseObserver | None = None
    ) -> None:
        super().__init__(SignalPoller(), site, limits, observe)
