"""One client's connection on a socket, for the models without asyncio.

Every system call here returns EAGAIN instead of waiting. When to call is the model's decision.
"""

import os
import socket
import time
from collections import deque
from contextlib import suppress

from aserve.handlers.handler import RequestContext
from aserve.http.dates import format_date
from aserve.http.error_pages import TOO_MANY_FILES
from aserve.http.messages import BodyPart, FileSlice, Request, Response
from aserve.http1.limits import Limits
from aserve.http1.states import State
from aserve.policies.site import Site
from aserve.transport.connection_limiter import ConnectionLimiter, Decision, ProcessLimits
from aserve.transport.internal_errors import isolate_errors, log_internal_error
from aserve.transport.observers import ResponseObserver
from aserve.transport.sending import send_file_slice, skip_bytes
from aserve.transport.server_connection import MAX_BUFFERED_INPUT, ServerConnection
from aserve.transport.turns import MAX_REQUESTS_PER_TURN, MAX_TURN_S

_READ_SIZE = 65_536  # bytes per read
_MAX_BYTES_PER_TURN = 1 << 20  # bytes of a file; then other connections have their turn


class ConnectionContext:
    """What all connections of one server share."""

    def __init__(
        self,
        site: Site,
        limits: Limits,
        observer: ResponseObserver | None,
        process_limits: ProcessLimits,
    ) -> None:
        self.site = site
        self.limits = limits
        self.observer = observer
        self.limiter: ConnectionLimiter[ServerConnection] = ConnectionLimiter(process_limits)

    @property
    def active_responses(self) -> int:
        """How many responses are being made or sent."""
        return sum(connection.is_responding for connection in list(self.limiter.connections))

    def handle(self, request: Request, second: int, client: str) -> Response:
        """Return the response to a request, or the error response to an invalid one."""
        if not self.site.keyed_on.client:
            return self.site.handle(request, RequestContext(second))
        return self.site.handle(request, RequestContext(second, client=client))


class SocketConnection(ServerConnection):
    """One client: feeds bytes from its socket to the HTTP parser, and sends the responses."""

    is_blocking = False
    """Whether calls on the socket may wait."""

    def __init__(self, sock: socket.socket, client: str, context: ConnectionContext) -> None:
        super().__init__(context, client)
        sock.setblocking(self.is_blocking)
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = sock
        self._context = context
        self._outgoing: deque[BodyPart] = deque()  # the response that is being sent
        self._is_aborted = self._is_turn_over = False
        self._bytes_sent = self._body_size = self._response_end = 0
        self._admit()

    @property
    def is_closed(self) -> bool:
        """Whether the socket is closed."""
        return self._http.state is State.CLOSED

    @property
    def wants_write(self) -> bool:
        """Whether there is data to send."""
        return bool(self._outgoing)

    @property
    def wants_read(self) -> bool:
        """Whether to read from the socket now."""
        http = self._http
        if http.eof_received or self.is_closed:
            return False
        return not self._outgoing or http.buffered <= MAX_BUFFERED_INPUT

    @property
    def wants_turn(self) -> bool:
        """Whether the last turn has left requests, for which the socket need not be ready."""
        return self._is_turn_over and not self._outgoing

    def process_ready(self, *, readable: bool = True) -> bool:
        """Write once and read once, as needed. Return whether another call may get further."""
        try:
            progressed = self._send_some()
            if (progressed or self._is_turn_over) and not self._outgoing:
                self._process_requests()
            # Only after the data read before has been parsed, so that the buffer stays bounded.
            if readable and not self._is_turn_over and self.wants_read:
                progressed = self._receive() or progressed
        except Exception as error:  # noqa: BLE001 - as isolate_errors does, without a call
            self.fail(error)
            progressed = True
        return progressed and not self.is_closed

    @isolate_errors
    def reject(self, status: int, detail: str) -> None:
        """Send an error response without a complete request, then close the connection."""
        self._reject(status, detail)

    def abort(self) -> None:
        """Close at once. Calling it again has no effect.

        Whatever fails here, the connection's slot and its descriptor are released.
        """
        if self._is_aborted:
            return
        self._is_aborted = True
        steps = (
            self._record_unfinished,
            self._http.close,
            self._release_slot,
            self._close_socket,
        )
        for step in steps:
            try:
                step()
            except Exception as error:  # noqa: BLE001 - the last boundary of a connection
                log_internal_error(error, self.client)
                self._http.state = State.CLOSED
        self._outgoing.clear()
        if self.socket.fileno() >= 0:  # closing has failed, or waits for pending I/O
            self._release_fd()

    # How bytes are moved.

    def _total_sent(self) -> int:
        return self._bytes_sent

    _total_delivered = _total_sent

    @property
    def _is_blocked(self) -> bool:
        return self.wants_write

    @property
    def _has_pending_io(self) -> bool:
        return False

    @property
    def _has_turn_pending(self) -> bool:
        return self._is_turn_over

    def _cancel_turn(self) -> None:
        self._is_turn_over = False
        self._outgoing.clear()

    def _shutdown_write(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def _close(self) -> None:
        self.abort()  # the kernel sends what it has taken

    @isolate_errors
    def _admit(self) -> None:
        decision = self._limiter.admit(self)
        if decision is not Decision.ACCEPT:
            self._turn_away(decision)

    def _release_slot(self) -> None:
        self._limiter.remove(self)

    def _receive(self) -> bool:
        try:
            data = self.socket.recv(_READ_SIZE)
        except BlockingIOError:
            return False
        except OSError:  # the client has gone
            self.abort()
            return False
        self._feed(data)
        return True

    def _feed(self, data: bytes) -> None:
        """Parse received data and handle its requests. Empty data means end of file."""
        self._bytes_received += len(data)
        if data:
            self._http.receive(data)
        else:
            self._http.receive_eof()
        self._process_requests()

    def _close_socket(self) -> None:
        self.socket.close()

    def _release_fd(self) -> None:
        """Close the descriptor, once no pending I/O uses it."""
        os.close(self.socket.detach())

    def _process_requests(self) -> None:
        """Handle the buffered requests in order, as long as the client reads the responses.

        Not all of them in one turn: 2,200 requests fit into one read and took 43 ms, in which no
        other connection was served.
        """
        http = self._http
        max_bytes_sent = self._bytes_sent + _MAX_BYTES_PER_TURN
        turn_end = time.monotonic() + MAX_TURN_S
        for _ in range(MAX_REQUESTS_PER_TURN):
            request = None if self._outgoing else http.next_request()
            if not request:
                self._is_turn_over = http.is_paused
                break
            self._dispatch(request)
            self._is_turn_over = not http.is_idle
            if self._bytes_sent > max_bytes_sent or time.monotonic() > turn_end:
                break
        if self.is_closed or self._has_finished:
            self.abort()

    def _dispatch(self, request: Request) -> None:
        self._request, self._started_at = request, time.time()
        second = int(self._started_at)
        response = self._respond(request, second)
        parts = self._http.start_response(response, format_date(second))
        self._status, self._body_size = response.status, sum(map(len, response.body))
        self._response_start, self._response_end = (
            self._bytes_sent,
            self._bytes_sent + sum(map(len, parts)),
        )
        self._outgoing.extend(parts)
        self._send_some()

    def _respond(self, request: Request, second: int) -> Response:
        """Return the response, or a 503 if there is no descriptor for its file."""
        response = self._context.handle(request, second, self.client)
        needs_file = any(isinstance(part, FileSlice) for part in response.body)
        if not needs_file or self._reserve_descriptors():
            return response
        rejected = request._replace(error=TOO_MANY_FILES)
        return self._context.handle(rejected, second, self.client)

    def _send_some(self) -> bool:
        """Send what the socket takes now. Return whether any byte was sent."""
        before = self._bytes_sent
        try:
            while self._outgoing and self._bytes_sent - before < _MAX_BYTES_PER_TURN:
                self._send_part(self._outgoing[0])
        except BlockingIOError:
            pass
        except (OSError, EOFError) as error:
            self._truncate(error)
            return False
        if self._bytes_sent > before and not self._outgoing:
            self._response_sent(self._status, self._body_size)
        return self._bytes_sent > before

    def _send_part(self, part: BodyPart) -> None:
        """Send what the socket takes of the first part."""
        if isinstance(part, bytes):
            count = self.socket.send(part, socket.MSG_MORE if len(self._outgoing) > 1 else 0)
        else:
            count = send_file_slice(self.socket.fileno(), part, _MAX_BYTES_PER_TURN)
        self._bytes_sent += count
        if count < len(part):
            self._outgoing[0] = skip_bytes(part, count)
        else:
            self._outgoing.popleft()

    def _record_unfinished(self) -> None:
        """Record a response that ends before it is complete, if one is being sent."""
        state = self._http.state
        if state is State.SENDING and self._bytes_sent < self._response_end:
            missing = self._response_end - self._bytes_sent
            self._record_truncated(self._status, self._body_size - missing)
        elif state is State.HANDLING:  # not even the 500 could be made
            self._record_truncated(500, 0)
