"""Non-blocking I/O: nobody is asked what is ready; every socket is tried, and says EAGAIN.

It never sleeps: a core is busy even while nobody wants anything.
"""

from aserve.models.multiplexing import Multiplexer, Ready
from aserve.models.owner import Observe
from aserve.site.answer import Site
from aserve.wire.limits import Limits


class Everybody:
    """Holds every descriptor ready at all times."""

    most = 0
    repeats = True

    def __init__(self) -> None:
        self._watched: set[int] = set()

    def watch(self, descriptor: int, *, reads: bool, writes: bool) -> None:  # noqa: ARG002
        """Try a descriptor from now on, for whatever it is."""
        self._watched.add(descriptor)

    def forget(self, descriptor: int) -> None:
        """Try a descriptor no more."""
        self._watched.discard(descriptor)

    def wait(self, seconds: float) -> Ready:  # noqa: ARG002
        """Return everything at once."""
        return [(descriptor, True) for descriptor in self._watched]


class Model(Multiplexer):
    """Every socket in turn, on one thread."""

    def __init__(self, site: Site, limits: Limits, observe: Observe | None = None) -> None:
        super().__init__(Everybody(), site, limits, observe)
