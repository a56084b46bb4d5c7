"""The life of a server without asyncio: start, turns with a tick each second, and stopping."""

import os
import select
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.transport.accepting import accept_ready
from aserve.transport.connection_context import ConnectionContext
from aserve.transport.internal_errors import log_internal_error
from aserve.transport.observers import ReportRemaining
from aserve.transport.processes import RETIRE
from aserve.transport.socket_connection import SocketConnection

if TYPE_CHECKING:
    from aserve.transport.proxy_protocol import ProxyProtocol


class RunLoop(ABC):
    """A server on one thread, which waits in one place: run_once, in the file of its model."""

    def __init__(self, context: ConnectionContext) -> None:
        self._context = context
        self._listeners: dict[int, socket.socket] = {}
        self._stopping = self._is_retired = False
        self._deadline = float("inf")  # of the monotonic clock
        self._at_tick: list[Callable[[], object]] = []

    def run(
        self,
        listeners: Sequence[socket.socket],
        control_fds: tuple[int, ...],
        grace: float,
        report_remaining: ReportRemaining | None = None,
    ) -> None:
        """Serve until a byte or the end of file arrives on a control descriptor.

        RETIRE stops accepting, and ends with the last connection. Of the other bytes the first
        one stops gracefully: responses that are being sent get grace seconds more, and
        report_remaining is called with their number. The second one stops at once.
        """
        self._grace, self._report_remaining = grace, report_remaining
        self._listeners = {listener.fileno(): listener for listener in listeners}
        self._start()
        try:
            for control_fd in control_fds:
                self._watch_control(control_fd)
            for listener in listeners:
                self._start_accepting(listener)
            self._run_until_stopped()
        finally:
            self._shutdown()

    def interrupt(self) -> None:  # noqa: B027 - most models wait in nothing else
        """End a call that waits for long, because a signal has asked the server to stop.

        A signal handler calls this on the thread that serves, between any two steps of it. The
        signal is also on a control descriptor, which ends all waits but accept, recv and send.
        """

    @property
    def has_retired(self) -> bool:
        """Whether it was retired, and not stopped."""
        return self._is_retired and not self._stopping

    def use_proxy_protocol(self, protocol: "ProxyProtocol") -> None:
        """Have every connection begin with the header of a proxy. To be called before run."""
        self._context.proxy_protocol = protocol

    def reload(self, site: Site, limits: Limits, proxy: "ProxyProtocol | None" = None) -> None:
        """Have every next request answered by another site; any thread may call this.

        proxy: what every next connection begins with, None for HTTP.
        """
        self._context.replace(self._adapt(site), limits, proxy)

    def call_at_tick(self, call: Callable[[], object]) -> None:
        """Have a function called once by the thread that serves, with its next tick.

        Any thread may call this.
        """
        self._at_tick.append(call)

    def _call_at_tick(self) -> None:
        while self._at_tick:
            self._at_tick.pop()()

    def _adapt(self, site: Site) -> Site:
        """Return a site as this model serves it."""
        return site

    def _run_until_stopped(self) -> None:
        ticked = now = time.monotonic()
        while not self._may_end(now):
            self._run_once(max(0.0, min(1.0, self._deadline - now)))
            now = time.monotonic()
            if now - ticked >= 1:
                ticked = now
                self._latest_context()  # or those before would be kept
                self._tick()
                self._call_at_tick()

    def _may_end(self, now: float) -> bool:
        if self._stopping:
            return now >= self._deadline or self._is_idle()
        return self._is_retired and self._is_idle()

    def _handle_order(self, order: int) -> None:
        """Do what a byte of a control descriptor asks for."""
        if order == RETIRE:
            self._retire()
        else:
            self._request_stop()

    def _retire(self) -> None:
        """Accept no more; make the next response of each connection its last one."""
        if not (self._is_retired or self._stopping):
            self._is_retired = True
            self._close_listeners()
            self._latest_context().is_retired = True
            for connection in list(self._context.limiter.connections):
                connection.close_after_next_response()

    def _close_listeners(self) -> None:
        for listener in self._listeners.values():
            self._stop_accepting(listener)
        self._listeners.clear()

    def _request_stop(self) -> None:
        """Stop gracefully, or at once if that has been requested before."""
        if self._stopping:
            self._deadline = 0.0
            return
        self._stopping = True
        self._deadline = time.monotonic() + self._grace
        self._context.limiter.close()
        self._close_listeners()
        responses = self._count_responses()
        connections = self._close_connections()
        if self._report_remaining:
            self._report_remaining(responses, connections)

    def _open_connection(self, sock: socket.socket, client: str) -> None:
        """Serve a client that was accepted."""
        try:
            connection = self._make_connection(sock, client)
        except Exception as error:  # noqa: BLE001 - it ends this connection alone
            log_internal_error(error, client)
            sock.close()
            return
        if not connection.is_closed:
            self._add_connection(connection)

    # What differs from model to model.

    def _start(self) -> None:  # noqa: B027 - most models have nothing to open
        """Open what the model needs besides its sockets, on the thread that serves."""

    @abstractmethod
    def _watch_control(self, control_fd: int) -> None:
        """Have _request_stop called for each byte of a control descriptor, and for its end."""

    @abstractmethod
    def _start_accepting(self, listener: socket.socket) -> None:
        """Have _open_connection called for each connection to a listener."""

    @abstractmethod
    def _stop_accepting(self, listener: socket.socket) -> None:
        """Close a listener."""

    @abstractmethod
    def _run_once(self, timeout: float) -> None:
        """Wait until something is ready, for at most timeout seconds, and serve it."""

    @abstractmethod
    def _tick(self) -> None:
        """Do what is due once a second."""

    def _make_connection(self, sock: socket.socket, client: str) -> SocketConnection:
        return SocketConnection(sock, client, self._latest_context())

    def _latest_context(self) -> ConnectionContext:
        self._context = self._context.latest
        return self._context

    @abstractmethod
    def _add_connection(self, connection: SocketConnection) -> None:
        """Serve a new connection from now on."""

    def _count_responses(self) -> int:
        """Return how many responses are being made or sent."""
        return self._context.active_responses

    @abstractmethod
    def _close_connections(self) -> int:
        """Let each connection close after its response. Return how many are left open.

        Where connections belong to other threads, they close later, and none is counted.
        """

    @abstractmethod
    def _is_idle(self) -> bool:
        """Return whether every connection is closed."""

    @abstractmethod
    def _shutdown(self) -> None:
        """Abort what is left, and close what _start has opened."""


class PollingLoop(RunLoop):
    """A run loop that is told which descriptors are ready. Its own ones have callbacks."""

    def __init__(self, context: ConnectionContext) -> None:
        super().__init__(context)
        self._callbacks: dict[int, Callable[[], object]] = {}
        self._paused_listeners: list[socket.socket] = []  # out of descriptors, until the next tick

    @abstractmethod
    def _poll_for_reading(self, descriptor: int) -> None:
        """Poll a descriptor of the server's own."""

    @abstractmethod
    def _stop_polling(self, descriptor: int) -> None:
        """Poll a descriptor no longer, which is still open."""

    def _call_when_readable(self, descriptor: int, callback: Callable[[], object]) -> None:
        self._callbacks[descriptor] = callback
        self._poll_for_reading(descriptor)

    def _watch_control(self, control_fd: int) -> None:
        os.set_blocking(control_fd, False)
        self._call_when_readable(control_fd, partial(self._read_control, control_fd))

    def _read_control(self, control_fd: int) -> None:
        with suppress(BlockingIOError):
            while order := os.read(control_fd, 1):
                self._handle_order(order[0])
            self._stop_polling(control_fd)  # its writer is gone, which means stop, too
            self._request_stop()

    def _start_accepting(self, listener: socket.socket) -> None:
        listener.setblocking(False)  # a client may go before it is accepted
        self._call_when_readable(listener.fileno(), partial(self._accept, listener))

    def _stop_accepting(self, listener: socket.socket) -> None:
        if listener in self._paused_listeners:
            self._paused_listeners.remove(listener)
        else:
            self._stop_polling(listener.fileno())
        del self._callbacks[listener.fileno()]
        listener.close()

    def _accept(self, listener: socket.socket) -> bool:
        """Accept the connections that wait. Return whether more may be waiting."""
        pause = partial(self._pause_accepting, listener)
        return accept_ready(listener.accept, self._open_connection, pause)

    def _pause_accepting(self, listener: socket.socket) -> None:
        self._stop_polling(listener.fileno())
        self._paused_listeners.append(listener)

    def _tick(self) -> None:
        while self._paused_listeners:
            self._poll_for_reading(self._paused_listeners.pop().fileno())


class PollLoop(PollingLoop):
    """Waits in poll(2) for the server's own descriptors alone: its connections wait elsewhere."""

    def __init__(self, context: ConnectionContext) -> None:
        super().__init__(context)
        self._poll = select.poll()

    def _run_once(self, timeout: float) -> None:
        for descriptor, _ in self._poll.poll(timeout * 1_000):
            if callback := self._callbacks.get(descriptor):
                callback()

    def _poll_for_reading(self, descriptor: int) -> None:
        self._poll.register(descriptor, select.POLLIN)

    def _stop_polling(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
