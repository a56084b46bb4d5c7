"""Non-blocking I/O: nobody is asked what is ready; every socket is tried, and says EAGAIN.

It never sleeps: a core is busy even while nobody wants anything.
"""

from aserve.handlers.static_site import StaticSite
from aserve.http1.limits import Limits
from aserve.transport.eventloop.connection_host import ResponseObserver
from aserve.transport.multiplexing import MultiplexingServer, Ready


class TryEverySocket:
    """Holds every descriptor ready at all times."""

    max_fd = 0
    is_level_triggered = True

    def __init__(self) -> None:
        self._watched: set[int] = set()

    def register(self, descriptor: int, *, readable: bool, writable: bool) -> None:  # noqa: ARG002
        """Try a descriptor from now on, for whatever it is."""
        self._watched.add(descriptor)

    def unregister(self, descriptor: int) -> None:
        """Try a descriptor no more."""
        self._watched.discard(descriptor)

    def poll(self, seconds: float) -> Ready:  # noqa: ARG002
        """Return everything at once."""
        return [(descriptor, True) for descriptor in self._watched]


class NonblockingServer(MultiplexingServer):
    """Every socket in turn, on one thread."""

    def __init__(
        self, site: StaticSite, limits: Limits, observe: ResponseObserver | None = None
    ) -> None:
        super().__init__(TryEverySocket(), site, limits, observe)
