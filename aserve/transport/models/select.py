"""select: bit sets that are rebuilt for each call, and hold no descriptor from 1,024 on."""

import select

from aserve.transport.multiplexing import MultiplexingServer, Ready


class SelectPoller:
    """A poller on select(2), the oldest interface."""

    max_fd = 1_024  # FD_SETSIZE; a connection beyond it gets a 503
    is_level_triggered = True

    def __init__(self) -> None:
        self._readers: set[int] = set()
        self._writers: set[int] = set()

    def register(self, descriptor: int, *, readable: bool, writable: bool) -> None:
        """Start polling a descriptor, or change what it is polled for."""
        (self._readers.add if readable else self._readers.discard)(descriptor)
        (self._writers.add if writable else self._writers.discard)(descriptor)

    def unregister(self, descriptor: int) -> None:
        """Stop polling a descriptor."""
        self.register(descriptor, readable=False, writable=False)

    def discard_closed(self, descriptor: int) -> None:
        """Do the same for a descriptor that is closed already."""
        self.unregister(descriptor)

    def poll(self, seconds: float) -> Ready:
        """Return the descriptors that are ready, after a wait of at most this many seconds."""
        readable, writable, _ = select.select(self._readers, self._writers, (), seconds)
        return (dict.fromkeys(writable, False) | dict.fromkeys(readable, True)).items()


class SelectServer(MultiplexingServer):
    """select(2) on one thread."""

    poller_class = SelectPoller
