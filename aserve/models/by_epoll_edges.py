"""epoll, edge-triggered: told once, when something new has come; the rest must be remembered.

A connection has one read and one write in a turn and stays in the list until it has met EAGAIN:
a fast sender is served with all the others and before none of them.
"""

import select

from aserve.models.by_epoll import Epoll
from aserve.models.multiplexing import Multiplexer
from aserve.models.owner import Observe
from aserve.site.answer import Site
from aserve.wire.limits import Limits


class EpollEdges(Epoll):
    """Ready means: something has changed."""

    repeats = False
    flags = select.EPOLLET


class Model(Multiplexer):
    """epoll's edges on one thread."""

    def __init__(self, site: Site, limits: Limits, observe: Observe | None = None) -> None:
        super().__init__(EpollEdges(), site, limits, observe)
