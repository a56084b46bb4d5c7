"""epoll, level-triggered: the kernel keeps the set of descriptors and returns the ready ones."""

import select

from aserve.transport.multiplexing import MultiplexingServer, Ready


class EpollPoller:
    """Ready means that there is data to read, or space to write, now."""

    max_fd = 0
    is_level_triggered = True
    flags = 0

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._registered: set[int] = set()

    def register(self, descriptor: int, *, readable: bool, writable: bool) -> None:
        """Start polling a descriptor, or change what it is polled for."""
        events = self.flags | readable * select.EPOLLIN | writable * select.EPOLLOUT
        if descriptor in self._registered:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
            self._registered.add(descriptor)

    def unregister(self, descriptor: int) -> None:
        """Stop polling a descriptor."""
        self._registered.discard(descriptor)
        self._epoll.unregister(descriptor)

    def discard_closed(self, descriptor: int) -> None:
        """Stop polling a closed descriptor. The kernel has removed it from epoll already."""
        self._registered.discard(descriptor)

    def poll(self, seconds: float) -> Ready:
        """Return the descriptors that are ready, after a wait of at most this many seconds."""
        return [(fd, event != select.EPOLLOUT) for fd, event in self._epoll.poll(seconds)]


class EpollServer(MultiplexingServer):
    """Level-triggered epoll on one thread."""

    poller_class = EpollPoller
