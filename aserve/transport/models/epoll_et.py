"""epoll, edge-triggered: told once, when something new has come; the rest must be remembered.

A connection has one read and one write in a turn and stays in the list until it has met EAGAIN:
a fast sender is served with all the others and before none of them.
"""

import select

from aserve.handlers.static_site import StaticSite
from aserve.http1.limits import Limits
from aserve.transport.eventloop.connection_host import ResponseObserver
from aserve.transport.models.epoll import EpollPoller
from aserve.transport.multiplexing import MultiplexingServer


class EdgeTriggeredEpollPoller(EpollPoller):
    """Ready means: something has changed."""

    is_level_triggered = False
    flags = select.EPOLLET


class EdgeTriggeredEpollServer(MultiplexingServer):
    """epoll's edges on one thread."""

    def __init__(
        self, site: StaticSite, limits: Limits, observe: ResponseObserver | None = None
    ) -> None:
        super().__init__(EdgeTriggeredEpollPoller(), site, limits, observe)
