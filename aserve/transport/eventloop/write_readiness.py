"""Room in sockets that the loop does not let us watch for writing."""

import asyncio
import select
from collections.abc import Callable
from contextlib import suppress

SendMore = Callable[[], bool]
"""Sends what a socket takes; tells whether it is to be called again when that takes more."""


class WriteReadiness:
    """Tells when sockets take octets: an epoll of our own, which the loop watches.

    uvloop refuses add_writer on a transport's descriptor. A duplicate would do, at a descriptor
    for each slow client. The kernel tells of room when a third of the socket's buffer is free, so
    that what is sent then is worth its system call.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._waiters: dict[int, tuple[SendMore, asyncio.Future[None]]] = {}
        loop.add_reader(self._epoll.fileno(), self._on_ready)

    async def call_while_writable(self, descriptor: int, send_more: SendMore) -> None:
        """Call `fill` whenever a socket takes octets, or will never take any, until it says no.

        From the loop and not from a task: with as many wakings as a large file has, a task's part
        in each was a tenth of the time.
        """
        self._epoll.register(descriptor, select.EPOLLOUT)
        guest = self._waiters[descriptor] = send_more, self._loop.create_future()
        try:
            await guest[1]
        finally:
            # Once it is closed the kernel has forgotten it, and its number may be another's.
            if self._waiters.get(descriptor) is guest:
                del self._waiters[descriptor]
                with suppress(OSError, ValueError):  # the latter from an epoll that is closed
                    self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Watch nothing any more; more than once is harmless."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _on_ready(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            fill, filled = self._waiters[descriptor]
            try:
                if not (filled.done() or fill()):
                    filled.set_result(None)
            except Exception as error:  # noqa: BLE001 - it belongs to who waits, not to the others
                filled.set_exception(error)
