"""Iterative: one client after the other, on one thread, with calls that wait.

While one client is served, the others wait in the kernel's queue. So no client may stay for longer
than the work takes: if others wait, a response is the last one of its connection, and says so; and
a connection between two requests is closed within a second. What remains is the price of the
model: one that sends its request slowly, or reads the response slowly, holds up all the others
until its deadline.
"""

import os
import socket
import time
from collections.abc import Callable

from aserve.http.messages import Request
from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.transport.blocking_calls import limit_waits, serve_until_closed
from aserve.transport.connection_context import ConnectionContext
from aserve.transport.connection_limiter import process_limits
from aserve.transport.internal_errors import isolate_errors
from aserve.transport.observers import ResponseObserver
from aserve.transport.run_loop import PollLoop
from aserve.transport.socket_connection import SocketConnection


class YieldingConnection(SocketConnection):
    """A connection that ends when others wait, since nothing else can serve them meanwhile."""

    def __init__(
        self,
        sock: socket.socket,
        client: str,
        context: ConnectionContext,
        others_wait: Callable[[], bool],
    ) -> None:
        self._others_wait = others_wait
        super().__init__(sock, client, context)

    @isolate_errors
    def tick(self) -> None:
        """Close a client that takes too long, or that says nothing while others wait."""
        self._check_deadlines()
        if self._others_wait() and self._http.is_idle:
            self._close_after_response()

    def _dispatch(self, request: Request) -> None:
        if self._others_wait():
            self._http.close_after_response()
        super()._dispatch(request)


class IterativeServer(PollLoop):
    """Accepts a client, serves it until its connection is closed, and accepts the next one.

    With one listener it waits in accept, and with several in poll: a name may have two addresses.
    """

    def __init__(
        self, site: Site, limits: Limits, observer: ResponseObserver | None = None
    ) -> None:
        bounds = process_limits(limits, threads=1)
        super().__init__(ConnectionContext(site, limits, observer, bounds))
        self._served: SocketConnection | None = None
        self._accepts_from: socket.socket | None = None
        self._is_interrupted = False

    def interrupt(self) -> None:
        """End a recv between two requests, or an accept, so that a stop need not wait for it."""
        self._is_interrupted = True
        if self._served:
            self._served.interrupt()
        elif listener := self._accepts_from:
            # Python repeats a call after the handler of a signal. This one then finds no listener,
            # while what it has accepted just before is not lost, as it would be by an exception.
            nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            os.dup2(nothing, listener.fileno(), inheritable=False)
            os.close(nothing)

    def _start_accepting(self, listener: socket.socket) -> None:
        super()._start_accepting(listener)
        if self._only_listener():
            limit_waits(listener)

    def _only_listener(self) -> socket.socket | None:
        listeners = list(self._listeners.values())
        return listeners[0] if len(listeners) == 1 else None

    def _run_once(self, timeout: float) -> None:
        if not self._paused_listeners and (listener := self._only_listener()):
            self._accept_or_serve(listener)
            timeout = 0
        super()._run_once(timeout)

    def _accept_or_serve(self, listener: socket.socket) -> None:
        """Wait in accept for a second at most, unless interrupt was called, or serve a client."""
        self._accepts_from = listener  # first: interrupt may be called between any two steps
        if not self._is_interrupted:
            self._accept(listener)
        self._accepts_from = None

    def _make_connection(self, sock: socket.socket, client: str) -> SocketConnection:
        return YieldingConnection(sock, client, self._latest_context(), self._others_wait)

    def _add_connection(self, connection: SocketConnection) -> None:
        """Serve a connection to its end."""
        self._served = connection
        try:
            serve_until_closed(connection, self._is_stopping)
        finally:
            self._served = None

    def _is_stopping(self) -> bool:
        """Return whether the server stops; abort the connection once its grace is over."""
        if self._is_interrupted:
            self._is_interrupted = False
            self._others_wait()
        if self._at_tick:  # the tick of the server comes with the end of this client
            self._call_at_tick()
        if self._served and time.monotonic() >= self._deadline:
            self._served.abort()
        return self._stopping

    def _others_wait(self) -> bool:
        """Return whether a client waits to be accepted; handle an order to stop, if there is one.

        While a client is served, nothing else reads the control descriptors.
        """
        ready = [descriptor for descriptor, _ in self._poll.poll(0)]
        others_wait = any(descriptor in self._listeners for descriptor in ready)
        for descriptor in ready:
            if descriptor not in self._listeners and descriptor in self._callbacks:
                self._callbacks[descriptor]()
        return others_wait

    def _close_connections(self) -> int:
        return 0  # the one there is closes after its response

    def _is_idle(self) -> bool:
        return True

    def _shutdown(self) -> None:
        """Nothing is left: what _run_once accepts, it serves to the end."""
