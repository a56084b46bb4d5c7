"""epoll, level-triggered: the kernel keeps the list of what is watched, and tells what is ready."""

import select
from contextlib import suppress

from aserve.models.multiplexing import Multiplexer, Ready
from aserve.models.owner import Observe
from aserve.site.answer import Site
from aserve.wire.limits import Limits


class Epoll:
    """Ready means: there is something to read, or room to write, now."""

    most = 0
    repeats = True
    flags = 0

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: set[int] = set()

    def watch(self, descriptor: int, *, reads: bool, writes: bool) -> None:
        """Begin to watch a descriptor, or watch it for something else."""
        events = self.flags | reads * select.EPOLLIN | writes * select.EPOLLOUT
        if descriptor in self._watched:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
            self._watched.add(descriptor)

    def forget(self, descriptor: int) -> None:
        """Watch a descriptor no more."""
        self._watched.discard(descriptor)
        with suppress(OSError, ValueError):  # closed: it has left by itself
            self._epoll.unregister(descriptor)

    def wait(self, seconds: float) -> Ready:
        """Return what is ready, after at most so long."""
        return [(fd, event != select.EPOLLOUT) for fd, event in self._epoll.poll(seconds)]


class Model(Multiplexer):
    """epoll on one thread."""

    def __init__(self, site: Site, limits: Limits, observe: Observe | None = None) -> None:
        super().__init__(Epoll(), site, limits, observe)
