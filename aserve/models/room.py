"""Waiting for room in sockets that the loop does not let us watch for writing."""

import asyncio
import select


class Room:
    """Tells when sockets take octets again: an epoll of our own, which the loop watches.

    uvloop refuses add_writer on a transport's descriptor. A duplicate would do, at a descriptor
    for each slow client. Level-triggered, once for each time that somebody waits (EPOLLONESHOT):
    the kernel then waits until a third of the socket's buffer is free, so that what is sent next
    is worth its system call.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        loop.add_reader(self._epoll.fileno(), self._wake)

    async def wait(self, descriptor: int) -> None:
        """Return when a socket takes octets, or will never take any; one waits for each."""
        self._arm(descriptor)
        room = self._waiting[descriptor] = self._loop.create_future()
        try:
            await room
        finally:
            self._waiting.pop(descriptor, None)

    def close(self) -> None:
        """Watch nothing any more; more than once is harmless."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _arm(self, descriptor: int) -> None:
        events = select.EPOLLOUT | select.EPOLLONESHOT
        try:
            self._epoll.modify(descriptor, events)
        except FileNotFoundError:  # the kernel forgets a descriptor when it is closed
            self._epoll.register(descriptor, events)

    def _wake(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            room = self._waiting.get(descriptor)
            if room and not room.done():
                room.set_result(None)
