"""select: sets of bits, rebuilt for each question, and no bit for a descriptor from 1,024 on."""

import select

from aserve.models.multiplexing import Multiplexer, Ready
from aserve.models.owner import Observe
from aserve.site.answer import Site
from aserve.wire.limits import Limits


class Select:
    """The oldest of them."""

    most = 1_024  # FD_SETSIZE; a connection beyond it is told so
    repeats = True

    def __init__(self) -> None:
        self._reads: set[int] = set()
        self._writes: set[int] = set()

    def watch(self, descriptor: int, *, reads: bool, writes: bool) -> None:
        """Begin to watch a descriptor, or watch it for something else."""
        (self._reads.add if reads else self._reads.discard)(descriptor)
        (self._writes.add if writes else self._writes.discard)(descriptor)

    def forget(self, descriptor: int) -> None:
        """Watch a descriptor no more."""
        self.watch(descriptor, reads=False, writes=False)

    def wait(self, seconds: float) -> Ready:
        """Return what is ready, after at most so long."""
        readable, writable, _ = select.select(self._reads, self._writes, (), seconds)
        return (dict.fromkeys(writable, False) | dict.fromkeys(readable, True)).items()


class Model(Multiplexer):
    """select on one thread."""

    def __init__(self, site: Site, limits: Limits, observe: Observe | None = None) -> None:
        super().__init__(Select(), site, limits, observe)
