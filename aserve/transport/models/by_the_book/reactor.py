"""The reactor as books have it: the main thread waits and queues, and does nothing else.

A worker accepts the clients of a listener; or it reads a request, makes its response, and has the
connection polled for writing; and a worker, mostly another one, writes the response once the main
thread has queued the connection again. aserve/explain/by_the_book.toml numbers these steps.

The tuned model (models/reactor.py) saves the second way through the queue wherever the socket takes
the response at once, which it nearly always does.
"""

import select
import socket
from contextlib import suppress
from functools import partial

from aserve.http.messages import Request
from aserve.transport.accepting import accept_ready
from aserve.transport.models.reactor import ReactorServer, Registration
from aserve.transport.socket_connection import SocketConnection


class DeferredConnection(SocketConnection):
    """A connection that writes only when its socket has been reported as writable."""

    @property
    def wants_read(self) -> bool:
        """Whether to read from the socket now: not before the response is written."""
        return not self._outgoing and super().wants_read

    def _dispatch(self, request: Request) -> None:
        self._begin(request)
        self._start_response(self._make_response())


class BookReactorServer(ReactorServer):
    """Polls on one thread, and does everything else on a thread pool."""

    # On the main thread.

    def _start_accepting(self, listener: socket.socket) -> None:
        listener.setblocking(False)  # a client may go before it is accepted
        self._callbacks[listener.fileno()] = partial(self._workers.submit, listener)
        self._epoll.register(listener.fileno(), select.EPOLLIN | self.oneshot_flag)

    def _stop_accepting(self, listener: socket.socket) -> None:
        if listener in self._paused_listeners:
            self._paused_listeners.remove(listener)
        del self._callbacks[listener.fileno()]
        self._epoll.unregister(listener.fileno())
        listener.close()  # a worker that is about to accept gets EBADF

    def _tick(self) -> None:
        paused, self._paused_listeners = self._paused_listeners, []
        for listener in paused:
            self._rearm_listener(listener)
        super()._tick()

    # On the pool.

    def _process(self, job: Registration | socket.socket) -> None:
        if isinstance(job, socket.socket):
            self._accept_on_worker(job)
        else:
            self._process_step(job)

    def _accept_on_worker(self, listener: socket.socket) -> None:
        is_paused = False

        def pause() -> None:
            nonlocal is_paused
            is_paused = True
            self._paused_listeners.append(listener)

        accept_ready(listener.accept, self._open_connection, pause)
        if not is_paused:
            self._rearm_listener(listener)

    def _rearm_listener(self, listener: socket.socket) -> None:
        with suppress(OSError, ValueError):  # it was closed: the server stops
            self._epoll.modify(listener.fileno(), select.EPOLLIN | self.oneshot_flag)

    def _make_connection(self, sock: socket.socket, client: str) -> SocketConnection:
        return DeferredConnection(sock, client, self._latest_context())

    def _process_step(self, registration: Registration) -> None:
        """Write, or else read and make the response: one step, then the connection waits again."""
        connection = registration.connection
        connection.process_ready(readable=not registration.is_writable)
        registration.tick_if_due()
        self._release(registration)
