"""I/O multiplexing: one thread polls for ready sockets, then reads, handles and writes."""

import socket
from collections.abc import Iterable
from typing import ClassVar, Protocol

from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.transport.connection_context import ConnectionContext
from aserve.transport.connection_limiter import process_limits
from aserve.transport.observers import ResponseObserver
from aserve.transport.run_loop import PollingLoop
from aserve.transport.socket_connection import SocketConnection

Ready = Iterable[tuple[int, bool]]
"""Descriptors that are ready, each with whether it is ready for reading."""


class Poller(Protocol):
    """One way to ask the kernel which descriptors are ready."""

    max_fd: int
    """Descriptors from this number on cannot be polled; 0 for no such limit."""
    is_level_triggered: bool
    """Whether poll reports a descriptor again while it stays ready.

    Otherwise the server must remember a descriptor that it has not read until EAGAIN.
    """

    def register(self, descriptor: int, *, readable: bool, writable: bool) -> None:
        """Start polling a descriptor, or change what it is polled for."""

    def unregister(self, descriptor: int) -> None:
        """Stop polling a descriptor, which is still open."""

    def discard_closed(self, descriptor: int) -> None:
        """Stop polling a descriptor that has been closed. Its number may be in use again."""

    def poll(self, seconds: float) -> Ready:
        """Return the descriptors that are ready, after a wait of at most this many seconds."""


class MultiplexingLoop(PollingLoop):
    """Serves connections on one thread, which waits in one place: the poller."""

    def __init__(self, poller: Poller, context: ConnectionContext) -> None:
        super().__init__(context)
        self._poller = poller
        self._connections: dict[int, SocketConnection] = {}
        self._interests: dict[int, tuple[bool, bool]] = {}
        self._pending: set[int] = set()  # may still be ready: no EAGAIN seen yet

    def _run_once(self, timeout: float) -> None:
        ready = dict.fromkeys(self._pending, True)
        self._pending.clear()
        ready.update(self._poller.poll(0 if ready else timeout))
        for descriptor, readable in ready.items():
            if connection := self._connections.get(descriptor):
                self._process(descriptor, connection, readable=readable)
            elif callback := self._callbacks.get(descriptor):
                callback()

    def _poll_for_reading(self, descriptor: int) -> None:
        self._poller.register(descriptor, readable=True, writable=False)

    def _stop_polling(self, descriptor: int) -> None:
        self._poller.unregister(descriptor)
        self._pending.discard(descriptor)

    def _accept(self, listener: socket.socket) -> bool:
        may_have_more = super()._accept(listener)
        if may_have_more and not self._poller.is_level_triggered:
            self._pending.add(listener.fileno())
        return may_have_more

    def _add_connection(self, connection: SocketConnection) -> None:
        descriptor = connection.socket.fileno()
        if self._poller.max_fd and descriptor >= self._poller.max_fd:
            connection.reject(503, "This server cannot poll more connections.")
            connection.abort()
            return
        self._connections[descriptor] = connection
        self._pending.add(descriptor)  # its request may have arrived already
        self._update_or_remove(descriptor, connection)

    def _process(self, descriptor: int, connection: SocketConnection, *, readable: bool) -> None:
        progressed = connection.process_ready(readable=readable)
        if connection.is_closed:
            self._remove_connection(descriptor)
            return
        if connection.wants_turn or (progressed and not self._poller.is_level_triggered):
            self._pending.add(descriptor)
        self._update_or_remove(descriptor, connection)

    def _update_or_remove(self, descriptor: int, connection: SocketConnection) -> None:
        """Poll a connection for what it wants now, or remove it if it is closed."""
        if not connection.is_closed:
            try:
                self._update_interest(descriptor, connection)
            except Exception as error:  # noqa: BLE001 - as when the kernel can watch no more
                connection.fail(error)
                connection.abort()
        if connection.is_closed:
            self._remove_connection(descriptor)

    def _update_interest(self, descriptor: int, connection: SocketConnection) -> None:
        interest = readable, writable = connection.wants_read, connection.wants_write
        if self._interests.get(descriptor) != interest:
            self._interests[descriptor] = interest
            self._poller.register(descriptor, readable=readable, writable=writable)

    def _remove_connection(self, descriptor: int) -> None:
        """Remove a closed connection. The kernel has removed its socket from epoll already."""
        self._connections.pop(descriptor, None)
        self._pending.discard(descriptor)
        if self._interests.pop(descriptor, None):
            self._poller.discard_closed(descriptor)

    def _tick(self) -> None:
        for descriptor, connection in list(self._connections.items()):
            connection.tick()
            self._update_or_remove(descriptor, connection)
        super()._tick()

    def _close_connections(self) -> int:
        for descriptor, connection in list(self._connections.items()):
            connection.close_after_response()
            self._update_or_remove(descriptor, connection)
        return len(self._connections)

    def _is_idle(self) -> bool:
        return not self._connections

    def _shutdown(self) -> None:
        for descriptor, connection in list(self._connections.items()):
            connection.abort()
            self._remove_connection(descriptor)
        self._callbacks.clear()  # they refer to the server, which would keep its poller open


class MultiplexingServer(MultiplexingLoop):
    """Serves a site by one such loop."""

    poller_class: ClassVar[type[Poller]]

    def __init__(
        self, site: Site, limits: Limits, observer: ResponseObserver | None = None
    ) -> None:
        poller = self.poller_class()
        bounds = process_limits(limits, poller.max_fd)
        super().__init__(poller, ConnectionContext(site, limits, observer, bounds))
