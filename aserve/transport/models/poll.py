"""poll: each call passes the whole list of descriptors to the kernel."""

import select
from contextlib import suppress

from aserve.transport.multiplexing import MultiplexingServer, Ready


class PollPoller:
    """A poller on poll(2), for any number of descriptors."""

    max_fd = 0
    is_level_triggered = True

    def __init__(self) -> None:
        self._poll = select.poll()

    def register(self, descriptor: int, *, readable: bool, writable: bool) -> None:
        """Start polling a descriptor, or change what it is polled for."""
        self._poll.register(descriptor, readable * select.POLLIN | writable * select.POLLOUT)

    def unregister(self, descriptor: int) -> None:
        """Stop polling a descriptor."""
        with suppress(KeyError):  # a connection whose registration has failed is removed, too
            self._poll.unregister(descriptor)

    def discard_closed(self, descriptor: int) -> None:
        """Do the same for a descriptor that is closed already."""
        self.unregister(descriptor)

    def poll(self, seconds: float) -> Ready:
        """Return the descriptors that are ready, after a wait of at most this many seconds."""
        ready = self._poll.poll(seconds * 1_000)
        return [(fd, event != select.POLLOUT) for fd, event in ready]


class PollServer(MultiplexingServer):
    """poll(2) on one thread."""

    poller_class = PollPoller
