"""Write readiness of sockets on which the loop allows no add_writer."""

import asyncio
import select
from collections.abc import Callable
from contextlib import suppress

SendMore = Callable[[], bool]
"""Sends what a socket takes. Returns whether to call it again when the socket takes more."""


class WriteReadiness:
    """Waits for sockets to become writable: a separate epoll, which the loop polls.

    uvloop refuses add_writer on a transport's descriptor. A duplicate would work, but would take a
    descriptor for each slow client. The kernel reports a socket as writable when a third of its
    buffer is free, so that each write is worth its system call.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._waiters: dict[int, tuple[SendMore, asyncio.Future[None]]] = {}
        loop.add_reader(self._epoll.fileno(), self._on_ready)

    async def call_while_writable(self, descriptor: int, send_more: SendMore) -> None:
        """Call send_more whenever a socket is writable or broken, until it returns False.

        The loop calls it directly: a large file wakes us so often that a task's share of each
        wake-up was a tenth of the time.
        """
        self._epoll.register(descriptor, select.EPOLLOUT)
        waiter = self._waiters[descriptor] = send_more, self._loop.create_future()
        try:
            await waiter[1]
        finally:
            # The kernel has removed a closed socket, whose number may be another one's by now.
            if self._waiters.get(descriptor) is waiter:
                del self._waiters[descriptor]
                with suppress(OSError, ValueError):  # ValueError: the epoll is closed
                    self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Stop polling. Calling it again has no effect."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _on_ready(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            send_more, finished = self._waiters[descriptor]
            try:
                if not (finished.done() or send_more()):
                    finished.set_result(None)
            except Exception as error:  # noqa: BLE001 - it is raised where this one is awaited
                finished.set_exception(error)
