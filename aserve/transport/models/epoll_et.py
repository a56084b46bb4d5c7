"""epoll, edge-triggered: the kernel reports each change once, and the server remembers the rest.

A connection does one read and one write in a turn, and stays in the list until it has met EAGAIN.
So a fast sender is served in turn with all the others.
"""

import select

from aserve.transport.models.epoll import EpollPoller
from aserve.transport.multiplexing import MultiplexingServer


class EdgeTriggeredEpollPoller(EpollPoller):
    """Ready means that something has changed since the last report."""

    is_level_triggered = False
    flags = select.EPOLLET


class EdgeTriggeredEpollServer(MultiplexingServer):
    """Edge-triggered epoll on one thread."""

    poller_class = EdgeTriggeredEpollPoller
