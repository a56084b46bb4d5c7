"""I/O multiplexing: one thread polls for ready sockets, then reads, handles and writes."""

import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.transport.connection_limiter import RESOURCE_ERRNOS, process_limits
from aserve.transport.eventloop.connection_host import ReportRemaining, ResponseObserver
from aserve.transport.internal_errors import log_internal_error
from aserve.transport.socket_connection import ConnectionContext, SocketConnection

_MAX_ACCEPTS = 64  # connections in one turn, before the open ones are served

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

    def poll(self, seconds: float) -> Ready:
        """Return the descriptors that are ready, after a wait of at most this many seconds."""


class MultiplexingServer:
    """Serves a site on one thread, which waits in one place: the poller."""

    def __init__(
        self,
        poller: Poller,
        site: Site,
        limits: Limits,
        observer: ResponseObserver | None = None,
    ) -> None:
        self._context = ConnectionContext(
            site, limits, observer, process_limits(limits, poller.max_fd)
        )
        self._poller = poller
        self._connections: dict[int, SocketConnection] = {}
        self._interests: dict[int, tuple[bool, bool]] = {}
        # For descriptors that are neither connections nor listeners.
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._pending: set[int] = set()  # may still be ready: no EAGAIN seen yet
        self._listeners: dict[int, socket.socket] = {}
        self._paused_listeners: set[int] = set()  # out of descriptors, until the next tick
        self._stopping = False
        self._deadline = float("inf")

    def run(
        self,
        listeners: Sequence[socket.socket],
        control_fds: tuple[int, ...],
        grace: float,
        report_remaining: ReportRemaining | None = None,
    ) -> None:
        """Serve until a byte or the end of file arrives on a control descriptor.

        The first one stops gracefully: responses that are being sent get grace seconds more, and
        report_remaining is called with their number. The second one stops at once.
        """
        self._listeners = {listener.fileno(): listener for listener in listeners}
        self._grace, self._report_remaining = grace, report_remaining
        for descriptor in (*self._listeners, *control_fds):
            os.set_blocking(descriptor, False)
            self._poller.register(descriptor, readable=True, writable=False)
        ticked = time.monotonic()
        while not self._is_finished():
            self._poll_once(control_fds)
            now = time.monotonic()
            if now - ticked >= 1:
                ticked = now
                self._tick()
        self._abort_all()

    def _poll_once(self, control_fds: tuple[int, ...]) -> None:
        ready = dict.fromkeys(self._pending, True)
        self._pending.clear()
        ready.update(self._poller.poll(0 if ready else self._poll_timeout()))
        for descriptor, readable in ready.items():
            if connection := self._connections.get(descriptor):
                self._process(descriptor, connection, readable=readable)
            elif callback := self._callbacks.get(descriptor):
                callback()
            elif descriptor in control_fds:
                self._handle_control(descriptor)
            elif listener := self._listeners.get(descriptor):
                self._accept(listener)

    def _poll_timeout(self) -> float:
        return max(0.0, min(1.0, self._deadline - time.monotonic()))

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_MAX_ACCEPTS):
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in RESOURCE_ERRNOS:
                    self._poller.unregister(listener.fileno())  # until the next tick
                    self._paused_listeners.add(listener.fileno())
                    return
                continue  # the client has gone already
            client = address[0] if isinstance(address, tuple) else "-"
            try:
                connection = self._make_connection(sock, client)
            except Exception as error:  # noqa: BLE001 - it ends this connection alone
                log_internal_error(error, client)
                sock.close()
            else:
                self._add_connection(connection)
        if not self._poller.is_level_triggered:
            self._pending.add(listener.fileno())

    def _add_connection(self, connection: SocketConnection) -> None:
        if connection.is_closed:
            return
        descriptor = connection.socket.fileno()
        if self._poller.max_fd and descriptor >= self._poller.max_fd:
            connection.reject(503, "This server cannot poll more connections.")
            connection.abort()
            return
        self._connections[descriptor] = connection
        self._pending.add(descriptor)  # its request may have arrived already
        self._update_or_remove(descriptor, connection)

    def _make_connection(self, sock: socket.socket, client: str) -> SocketConnection:
        return SocketConnection(sock, client, self._context)

    def _process(self, descriptor: int, connection: SocketConnection, *, readable: bool) -> None:
        progressed = connection.process_ready(readable=readable)
        if connection.is_closed:
            self._remove_connection(descriptor)
            return
        if connection.wants_turn or (progressed and not self._poller.is_level_triggered):
            self._pending.add(descriptor)
        self._update_or_remove(descriptor, connection)

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
            self._poller.unregister(descriptor)

    def _handle_control(self, control_fd: int) -> None:
        try:
            if os.read(control_fd, 1):
                # A second byte may be behind it, which edge-triggered polling does not report.
                self._pending.add(control_fd)
            else:
                self._poller.unregister(control_fd)  # its writer is gone, which means stop, too
        except BlockingIOError:
            return
        if self._stopping:
            self._deadline = 0.0
            return
        self._stopping = True
        self._deadline = time.monotonic() + self._grace
        self._context.limiter.close()
        for descriptor, listener in self._listeners.items():
            self._poller.unregister(descriptor)
            self._pending.discard(descriptor)
            listener.close()
        self._listeners.clear()
        self._paused_listeners.clear()
        for descriptor, connection in list(self._connections.items()):
            connection.close_after_response()
            self._update_or_remove(descriptor, connection)
        if self._report_remaining:
            self._report_remaining(self._context.active_responses, len(self._connections))

    def _tick(self) -> None:
        for descriptor, connection in list(self._connections.items()):
            connection.tick()
            self._update_or_remove(descriptor, connection)
        while self._paused_listeners:
            self._poller.register(self._paused_listeners.pop(), readable=True, writable=False)

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

    def _is_finished(self) -> bool:
        return self._stopping and (not self._connections or time.monotonic() >= self._deadline)

    def _abort_all(self) -> None:
        for descriptor, connection in list(self._connections.items()):
            connection.abort()
            self._remove_connection(descriptor)
