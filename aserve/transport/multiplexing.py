"""I/O multiplexing: one thread asks which sockets are ready, then reads, answers and writes."""

import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from aserve.handlers.static_site import StaticSite
from aserve.http1.limits import Limits
from aserve.transport.connection_limiter import RESOURCE_ERRNOS, process_limits
from aserve.transport.eventloop.connection_host import ReportRemaining, ResponseObserver
from aserve.transport.internal_errors import log_internal_error
from aserve.transport.socket_connection import ConnectionContext, SocketConnection

_MAX_ACCEPTS = 64  # connections in one turn, before those that are open have theirs

Ready = Iterable[tuple[int, bool]]
"""Descriptors for which something can be done, and whether that is reading."""


class Poller(Protocol):
    """One way to ask the kernel what is ready."""

    max_fd: int
    """Descriptors from this number on cannot be watched; 0: all can."""
    is_level_triggered: bool
    """Whether what is still ready is told again; else whoever stops early must remember it."""

    def register(self, descriptor: int, *, readable: bool, writable: bool) -> None:
        """Begin to watch a descriptor, or watch it for something else."""

    def unregister(self, descriptor: int) -> None:
        """Watch a descriptor no more; it is still open."""

    def poll(self, seconds: float) -> Ready:
        """Return what is ready, after at most so long."""


class MultiplexingServer:
    """One thread's share of a site: its connections and the one place where it waits."""

    def __init__(
        self,
        poller: Poller,
        site: StaticSite,
        limits: Limits,
        observe: ResponseObserver | None = None,
    ) -> None:
        self._context = ConnectionContext(
            site, limits, observe, process_limits(limits, poller.max_fd)
        )
        self._poller = poller
        self._connections: dict[int, SocketConnection] = {}
        self._interests: dict[int, tuple[bool, bool]] = {}
        self._callbacks: dict[int, Callable[[], None]] = {}  # for what is watched besides
        self._pending: set[int] = set()  # turned and not at their end, as far as is known
        self._listeners: dict[int, socket.socket] = {}
        self._paused_listeners: set[int] = set()  # listeners by which nobody is let in for a moment
        self._stopping = False
        self._deadline = float("inf")

    def run(
        self,
        listeners: Sequence[socket.socket],
        control_fds: tuple[int, ...],
        grace: float,
        report_remaining: ReportRemaining | None = None,
    ) -> None:
        """Serve until an octet, or the end, arrives at one of orders; a second one ends at once.

        grace: seconds that replies under way get after the first; tell: is told of them.
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

    def _poll_once(self, orders: tuple[int, ...]) -> None:
        ready = dict.fromkeys(self._pending, True)
        self._pending.clear()
        ready.update(self._poller.poll(0 if ready else self._poll_timeout()))
        for descriptor, readable in ready.items():
            if talk := self._connections.get(descriptor):
                self._process(descriptor, talk, readable=readable)
            elif call := self._callbacks.get(descriptor):
                call()
            elif descriptor in orders:
                self._handle_control(descriptor)
            elif listener := self._listeners.get(descriptor):
                self._accept(listener)

    def _poll_timeout(self) -> float:
        return max(0.0, min(1.0, self._deadline - time.monotonic()))

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_MAX_ACCEPTS):
            try:
                connection, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in RESOURCE_ERRNOS:
                    self._poller.unregister(listener.fileno())  # until the next tick
                    self._paused_listeners.add(listener.fileno())
                    return
                continue  # whoever waited has gone
            client = address[0] if isinstance(address, tuple) else "-"
            try:
                talk = self._make_connection(connection, client)
            except Exception as error:  # noqa: BLE001 - it ends this connection alone
                log_internal_error(error, client)
                connection.close()
            else:
                self._add_connection(talk)
        if not self._poller.is_level_triggered:
            self._pending.add(listener.fileno())

    def _add_connection(self, talk: SocketConnection) -> None:
        if talk.is_closed:
            return
        descriptor = talk.socket.fileno()
        if self._poller.max_fd and descriptor >= self._poller.max_fd:
            talk.reject(503, "This server cannot watch more connections.")
            talk.abort()
            return
        self._connections[descriptor] = talk
        self._pending.add(descriptor)  # its request may be there already
        self._update_or_remove(descriptor, talk)

    def _make_connection(self, connection: socket.socket, client: str) -> SocketConnection:
        return SocketConnection(connection, client, self._context)

    def _process(self, descriptor: int, talk: SocketConnection, *, readable: bool) -> None:
        went = talk.process_ready(readable=readable)
        if talk.is_closed:
            self._remove_connection(descriptor)
            return
        if talk.wants_turn or (went and not self._poller.is_level_triggered):
            self._pending.add(descriptor)
        self._update_or_remove(descriptor, talk)

    def _update_interest(self, descriptor: int, talk: SocketConnection) -> None:
        wish = talk.wants_read, talk.wants_write
        if self._interests.get(descriptor) != wish:
            self._interests[descriptor] = wish
            self._poller.register(descriptor, readable=wish[0], writable=wish[1])

    def _remove_connection(self, descriptor: int) -> None:
        """Forget a connection that is over. A closed socket has left epoll by itself."""
        self._connections.pop(descriptor, None)
        self._pending.discard(descriptor)
        if self._interests.pop(descriptor, None):
            self._poller.unregister(descriptor)

    def _handle_control(self, order: int) -> None:
        try:
            if os.read(order, 1):
                self._pending.add(order)  # a second one may be behind it, and no edge tells of that
            else:
                self._poller.unregister(order)  # whoever gave orders is gone: that is one, too
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
        for descriptor, talk in list(self._connections.items()):
            talk.close_after_response()
            self._update_or_remove(descriptor, talk)
        if self._report_remaining:
            self._report_remaining(self._context.active_responses, len(self._connections))

    def _tick(self) -> None:
        for descriptor, talk in list(self._connections.items()):
            talk.tick()
            self._update_or_remove(descriptor, talk)
        while self._paused_listeners:
            self._poller.register(self._paused_listeners.pop(), readable=True, writable=False)

    def _update_or_remove(self, descriptor: int, talk: SocketConnection) -> None:
        """Watch a connection for what it wants now, or forget it."""
        if not talk.is_closed:
            try:
                self._update_interest(descriptor, talk)
            except Exception as error:  # noqa: BLE001 - as when the kernel can watch no more
                talk.fail(error)
                talk.abort()
        if talk.is_closed:
            self._remove_connection(descriptor)

    def _is_finished(self) -> bool:
        return self._stopping and (not self._connections or time.monotonic() >= self._deadline)

    def _abort_all(self) -> None:
        for descriptor, talk in list(self._connections.items()):
            talk.abort()
            self._remove_connection(descriptor)
