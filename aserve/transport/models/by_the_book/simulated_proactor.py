"""The simulated Proactor as books have it: one thread reads and writes, others handle requests.

The main thread reads until nothing is left, makes a request object of it, and queues that. A worker
makes the response, and has the connection polled for writing; then the main thread writes.
aserve/explain/by_the_book.toml numbers these steps.

To the workers it looks like a Proactor: they get what was read, and never call read or write. The
tuned model, which is the default one, does without the queue unless a disk has to be waited for.
"""

import socket

from aserve.http.messages import HttpError, Request
from aserve.transport.internal_errors import isolate_errors
from aserve.transport.models.reactor import ReactorServer, Registration
from aserve.transport.server_connection import MAX_BUFFERED_INPUT
from aserve.transport.socket_connection import READ_SIZE, SocketConnection

_QUEUE_FULL = HttpError(503, "Too many requests are waiting. Try again in a moment.")


class QueuedConnection(SocketConnection):
    """A connection whose responses are made elsewhere.

    is_queued: whether a request waits for its response to be made.
    """

    is_queued = False

    @property
    def wants_read(self) -> bool:
        """Whether to read from the socket now: one request after the other."""
        return not (self.is_queued or self._outgoing) and super().wants_read

    @isolate_errors
    def make_response(self) -> None:
        """Make the response to the queued request. It is sent when the socket is writable."""
        self.is_queued = False
        self._start_response(self._make_response())

    @isolate_errors
    def reject_queued(self, error: HttpError) -> None:
        """Answer the queued request with an error, which takes no time."""
        self._dispatch(self._http.reject(error))
        self.make_response()

    def _dispatch(self, request: Request) -> None:
        self._begin(request)
        self.is_queued = True

    def _receive(self) -> bool:
        """Read until nothing is left, or until the parser has enough for now."""
        received = bytearray()
        has_ended = False
        try:
            while len(received) < MAX_BUFFERED_INPUT and not has_ended:
                data = self.socket.recv(READ_SIZE)
                received += data
                has_ended = not data
        except BlockingIOError:
            pass
        except OSError:  # the client has gone
            self.abort()
            return False
        if received:
            self._feed(bytes(received))
        if has_ended and not self.is_closed:
            self._feed(b"")
        return bool(received) or has_ended


class BookSimulatedProactorServer(ReactorServer):
    """Reads and writes on one thread, and makes responses on a thread pool."""

    # On the main thread.

    def _submit_or_reject(self, registration: Registration) -> None:
        self._move_bytes(registration)

    def _move_bytes(self, registration: Registration) -> None:
        """Write or read, then queue the request that was read, or poll the connection again."""
        connection = registration.connection
        assert isinstance(connection, QueuedConnection)  # noqa: S101 - _make_connection's
        connection.process_ready(readable=not registration.is_writable)
        registration.tick_if_due()
        if connection.is_queued and self._workers.is_full:
            connection.reject_queued(_QUEUE_FULL)
        if connection.is_queued:
            self._workers.submit(registration)
        else:
            self._release(registration)

    def _claim(self, registration: Registration) -> None:
        """Give a connection that no worker has its turn, for what is due."""
        if self._take_ownership(registration):
            self._move_bytes(registration)

    def _make_connection(self, sock: socket.socket, client: str) -> SocketConnection:
        return QueuedConnection(sock, client, self._latest_context())

    # On the pool.

    def _process(self, registration: Registration) -> None:
        connection = registration.connection
        assert isinstance(connection, QueuedConnection)  # noqa: S101 - _make_connection's
        while connection.is_queued:  # again, if it was an error
            connection.make_response()
        self._release(registration)
