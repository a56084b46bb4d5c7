"""poll: the whole list of what is watched goes to the kernel with each question."""

import select
from contextlib import suppress

from aserve.models.multiplexing import Multiplexer, Ready
from aserve.models.owner import Observe
from aserve.site.answer import Site
from aserve.wire.limits import Limits


class Poll:
    """As many descriptors as there are."""

    most = 0
    repeats = True

    def __init__(self) -> None:
        self._poll = select.poll()

    def watch(self, descriptor: int, *, reads: bool, writes: bool) -> None:
        """Begin to watch a descriptor, or watch it for something else."""
        self._poll.register(descriptor, reads * select.POLLIN | writes * select.POLLOUT)

    def forget(self, descriptor: int) -> None:
        """Watch a descriptor no more."""
        with suppress(KeyError):
            self._poll.unregister(descriptor)

    def wait(self, seconds: float) -> Ready:
        """Return what is ready, after at most so long."""
        ready = self._poll.poll(seconds * 1_000)
        return [(fd, event != select.POLLOUT) for fd, event in ready]


class Model(Multiplexer):
    """poll on one thread."""

    def __init__(self, site: Site, limits: Limits, observe: Observe | None = None) -> None:
        super().__init__(Poll(), site, limits, observe)
