"""epoll, level-triggered: the kernel keeps the list of what is watched, and tells what is ready."""

import select
from contextlib import suppress

from aserve.handlers.static_site import StaticSite
from aserve.http1.limits import Limits
from aserve.transport.eventloop.connection_host import ResponseObserver
from aserve.transport.multiplexing import MultiplexingServer, Ready


class EpollPoller:
    """Ready means: there is something to read, or room to write, now."""

    max_fd = 0
    is_level_triggered = True
    flags = 0

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: set[int] = set()

    def register(self, descriptor: int, *, readable: bool, writable: bool) -> None:
        """Begin to watch a descriptor, or watch it for something else."""
        events = self.flags | readable * select.EPOLLIN | writable * select.EPOLLOUT
        if descriptor in self._watched:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
            self._watched.add(descriptor)

    def unregister(self, descriptor: int) -> None:
        """Watch a descriptor no more."""
        self._watched.discard(descriptor)
        with suppress(OSError, ValueError):  # closed: it has left by itself
            self._epoll.unregister(descriptor)

    def poll(self, seconds: float) -> Ready:
        """Return what is ready, after at most so long."""
        return [(fd, event != select.EPOLLOUT) for fd, event in self._epoll.poll(seconds)]


class EpollServer(MultiplexingServer):
    """epoll on one thread."""

    def __init__(
        self, site: StaticSite, limits: Limits, observe: ResponseObserver | None = None
    ) -> None:
        super().__init__(EpollPoller(), site, limits, observe)
