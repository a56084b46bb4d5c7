"""Signal-driven I/O: the kernel sends a signal when something about a socket has changed.

Real-time signals, since they queue and name their descriptor. What they say is a hint and no more:
a descriptor's number may be another connection's by the time its signal is taken, hence whatever
is hinted at is tried, and says EAGAIN where there was nothing in it.
"""

import os
import signal
import stat

from aserve.models.multiplexing import Multiplexer, Ready
from aserve.models.owner import Observe
from aserve.models.signals import SignalQueue
from aserve.site.answer import Site
from aserve.wire.limits import Limits

_CHANGED = signal.SIGRTMIN + 1


class Signals:
    """Each descriptor sends its signal to the thread that made this, which must be the server's."""

    most = 0
    repeats = False

    def __init__(self) -> None:
        # The kernel sends a plain SIGIO in place of a signal for which its queue has no room.
        self._queue = SignalQueue((_CHANGED, signal.SIGIO))
        self._watched: set[int] = set()
        self._untried: set[int] = set()

    def watch(self, descriptor: int, *, reads: bool, writes: bool) -> None:  # noqa: ARG002
        """Let a descriptor send signals, whatever is wanted of it; what came before sent none."""
        if descriptor not in self._watched:
            self._watched.add(descriptor)
            _have_to_oneself(descriptor)
            self._queue.send_by(descriptor, _CHANGED)
        self._untried.add(descriptor)

    def forget(self, descriptor: int) -> None:
        """Watch a descriptor no more.

        Its signals go on until it is closed. Switching them off would be dangerous: it may be
        closed by now, and its number another thread's file.
        """
        self._watched.discard(descriptor)
        self._untried.discard(descriptor)

    def wait(self, seconds: float) -> Ready:
        """Return what may be ready, after at most so long; everything, if signals were lost."""
        hinted, self._untried = self._untried, set()
        for number, descriptor in self._queue.wait(0 if hinted else seconds):
            if number == signal.SIGIO:
                hinted |= self._watched
            else:
                hinted.add(descriptor)
        return [(descriptor, True) for descriptor in hinted & self._watched]


def _have_to_oneself(descriptor: int) -> None:
    """Open a pipe anew if others may hold it, too: a file's signals go to one thread only.

    Workers that were forked share the pipe which tells them that their supervisor is gone.
    """
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        anew = os.open(f"/proc/self/fd/{descriptor}", flags)
        os.dup2(anew, descriptor, inheritable=False)
        os.close(anew)


class Model(Multiplexer):
    """Signals for one thread."""

    def __init__(self, site: Site, limits: Limits, observe: Observe | None = None) -> None:
        super().__init__(Signals(), site, limits, observe)
