"""poll: the whole list of what is watched goes to the kernel with each question."""

import select
from contextlib import suppress

from aserve.handlers.static_site import StaticSite
from aserve.http1.limits import Limits
from aserve.transport.eventloop.connection_host import ResponseObserver
from aserve.transport.multiplexing import MultiplexingServer, Ready


class PollPoller:
    """As many descriptors as there are."""

    max_fd = 0
    is_level_triggered = True

    def __init__(self) -> None:
        self._poll = select.poll()

    def register(self, descriptor: int, *, readable: bool, writable: bool) -> None:
        """Begin to watch a descriptor, or watch it for something else."""
        self._poll.register(descriptor, readable * select.POLLIN | writable * select.POLLOUT)

    def unregister(self, descriptor: int) -> None:
        """Watch a descriptor no more."""
        with suppress(KeyError):
            self._poll.unregister(descriptor)

    def poll(self, seconds: float) -> Ready:
        """Return what is ready, after at most so long."""
        ready = self._poll.poll(seconds * 1_000)
        return [(fd, event != select.POLLOUT) for fd, event in ready]


class PollServer(MultiplexingServer):
    """poll on one thread."""

    def __init__(
        self, site: StaticSite, limits: Limits, observe: ResponseObserver | None = None
    ) -> None:
        super().__init__(PollPoller(), site, limits, observe)
