"""Non-blocking I/O: no readiness is polled; every socket is tried, and most return EAGAIN.

It never sleeps: a core is busy even while all clients are idle.
"""

from aserve.transport.multiplexing import MultiplexingServer, Ready


class TryEverySocket:
    """A poller that reports every descriptor as ready, always."""

    max_fd = 0
    is_level_triggered = True

    def __init__(self) -> None:
        self._registered: set[int] = set()

    def register(self, descriptor: int, *, readable: bool, writable: bool) -> None:  # noqa: ARG002
        """Try a descriptor from now on, for reading and writing."""
        self._registered.add(descriptor)

    def unregister(self, descriptor: int) -> None:
        """Stop trying a descriptor."""
        self._registered.discard(descriptor)

    def discard_closed(self, descriptor: int) -> None:
        """Do the same for a descriptor that is closed already."""
        self.unregister(descriptor)

    def poll(self, seconds: float) -> Ready:  # noqa: ARG002
        """Return all descriptors at once."""
        return [(descriptor, True) for descriptor in self._registered]


class NonblockingServer(MultiplexingServer):
    """Tries every socket in turn, on one thread."""

    poller_class = TryEverySocket
