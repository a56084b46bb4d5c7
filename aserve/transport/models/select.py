"""select: sets of bits, rebuilt for each question, and no bit for a descriptor from 1,024 on."""

import select

from aserve.handlers.static_site import StaticSite
from aserve.http1.limits import Limits
from aserve.transport.eventloop.connection_host import ResponseObserver
from aserve.transport.multiplexing import MultiplexingServer, Ready


class SelectPoller:
    """The oldest of them."""

    max_fd = 1_024  # FD_SETSIZE; a connection beyond it is told so
    is_level_triggered = True

    def __init__(self) -> None:
        self._reads: set[int] = set()
        self._writes: set[int] = set()

    def register(self, descriptor: int, *, readable: bool, writable: bool) -> None:
        """Begin to watch a descriptor, or watch it for something else."""
        (self._reads.add if readable else self._reads.discard)(descriptor)
        (self._writes.add if writable else self._writes.discard)(descriptor)

    def unregister(self, descriptor: int) -> None:
        """Watch a descriptor no more."""
        self.register(descriptor, readable=False, writable=False)

    def poll(self, seconds: float) -> Ready:
        """Return what is ready, after at most so long."""
        readable, writable, _ = select.select(self._reads, self._writes, (), seconds)
        return (dict.fromkeys(writable, False) | dict.fromkeys(readable, True)).items()


class SelectServer(MultiplexingServer):
    """select on one thread."""

    def __init__(
        self, site: StaticSite, limits: Limits, observe: ResponseObserver | None = None
    ) -> None:
        super().__init__(SelectPoller(), site, limits, observe)
