"""One client's connection on a non-blocking socket, for the models without asyncio.

Every system call here returns EAGAIN instead of waiting. When to call is the model's decision.
"""

import logging
import os
import socket
import time
from collections import deque
from contextlib import suppress

from aserve.handlers.handler import RequestContext
from aserve.http.dates import format_date
from aserve.http.error_pages import TOO_MANY_FILES
from aserve.http.messages import BodyPart, FileSlice, HttpError, Request, Response
from aserve.http1.connection import H1Connection
from aserve.http1.limits import Limits
from aserve.http1.states import State
from aserve.http1.timeouts import Deadlines
from aserve.policies.site import Site
from aserve.transport.connection_limiter import ConnectionLimiter, Decision, ProcessLimits
from aserve.transport.eventloop.connection_host import ResponseObserver
from aserve.transport.internal_errors import isolate_errors, log_internal_error
from aserve.transport.turns import MAX_TURN_S

_READ_SIZE = 65_536  # bytes per read
_MAX_BUFFERED_INPUT = 65_536  # bytes of pipelined requests that wait; then reading pauses
_MAX_BYTES_PER_TURN = 1 << 20  # bytes of a file; then other connections have their turn
MAX_REQUESTS = 16
"""Pipelined requests of one connection in a turn; then other connections have theirs."""

_logger = logging.getLogger("aserve")


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
        self.limiter: ConnectionLimiter[SocketConnection] = ConnectionLimiter(process_limits)

    @property
    def active_responses(self) -> int:
        """How many responses are being made or sent."""
        return sum(connection.is_responding for connection in list(self.limiter.connections))

    def handle(self, request: Request, second: int, client: str) -> Response:
        """Return the response to a request, or the error response to an invalid one."""
        if not self.site.keyed_on.client:
            return self.site.handle(request, RequestContext(second))
        return self.site.handle(request, RequestContext(second, client=client))


class SocketConnection:
    """One client: feeds bytes from its socket to the HTTP parser, and sends the responses."""

    is_blocking = False
    """Whether calls on the socket may wait."""
    descriptors_per_file = 1
    """How many a response takes that is read from a file."""

    def __init__(self, sock: socket.socket, client: str, context: ConnectionContext) -> None:
        sock.setblocking(self.is_blocking)
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = sock
        self.client = client
        self._context = context
        self._http = H1Connection(context.limits)
        self._deadlines = Deadlines(context.limits)
        self._outgoing: deque[BodyPart] = deque()  # the response that is being sent
        self._bytes_received = self._bytes_sent = 0
        self._is_aborted = self._has_failed = self._holds_descriptors = self._is_turn_over = False
        self._request = Request("", "")
        self._status = self._body_size = self._response_start = self._response_end = 0
        self._started_at = 0.0
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
        return not self._outgoing or http.buffered <= _MAX_BUFFERED_INPUT

    @property
    def wants_turn(self) -> bool:
        """Whether the last turn has left requests, for which the socket need not be ready."""
        return self._is_turn_over and not self._outgoing

    @property
    def is_responding(self) -> bool:
        """Whether a response is being made or sent."""
        return self._http.state in {State.HANDLING, State.SENDING}

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

    def _reject(self, status: int, detail: str) -> None:
        self._handle(self._http.reject(HttpError(status, detail)))

    @isolate_errors
    def close_after_response(self) -> None:
        """Close after the response that is being sent, or at once if there is none."""
        self._http.close_after_response()
        if self._http.state is State.IDLE and not self._is_turn_over:
            self.abort()

    def fail(self, error: Exception) -> None:
        """Close because of an internal error, with a 500 if no byte of a response was sent yet."""
        log_internal_error(error, self.client)
        state = self._http.state
        untouched = state is State.SENDING and self._bytes_sent == self._response_start
        if self._has_failed or self._has_pending_io or not (state <= State.HANDLING or untouched):
            self.abort()
            return
        self._has_failed, self._is_turn_over = True, False
        self._outgoing.clear()
        try:
            self._reject(500, "Something went wrong here.")
        except Exception as another:  # noqa: BLE001 - the last boundary of a connection
            log_internal_error(another, self.client)
            self.abort()

    def abort(self) -> None:
        """Close at once. Calling it again has no effect.

        Whatever fails here, the connection's slot and its descriptor are released.
        """
        if self._is_aborted:
            return
        self._is_aborted = True
        for step in (self._record_truncated, self._http.close, self._release_slot, self._close):
            try:
                step()
            except Exception as error:  # noqa: BLE001 - the last boundary of a connection
                log_internal_error(error, self.client)
                self._http.state = State.CLOSED
        self._outgoing.clear()
        if self.socket.fileno() >= 0:  # closing has failed, or waits for pending I/O
            self._release_fd()

    @isolate_errors
    def tick(self) -> None:
        """Close a client that takes too long; called once a second."""
        state, is_blocked = self._http.state, self.wants_write
        if not self._deadlines.expired(
            state, self._bytes_received, self._bytes_sent, is_blocked=is_blocked
        ):
            return
        if not is_blocked and state in {State.HEAD, State.BODY}:
            self._reject(408, "The request took too long to arrive.")
        else:
            self.abort()

    @property
    def _has_pending_io(self) -> bool:
        """Whether the kernel works on the response, so that it cannot be replaced."""
        return False

    @isolate_errors
    def _admit(self) -> None:
        decision = self._context.limiter.admit(self)
        if decision is Decision.REJECT:
            self._reject(503, "Too many connections are open. Try again in a moment.")
        elif decision is Decision.DROP:
            self.abort()

    def _release_slot(self) -> None:
        self._context.limiter.remove(self)

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

    def _close(self) -> None:
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
        for _ in range(MAX_REQUESTS):
            request = None if self._outgoing else http.next_request()
            if not request:
                self._is_turn_over = http.is_paused
                break
            self._handle(request)
            self._is_turn_over = not http.is_idle
            if self._bytes_sent > max_bytes_sent or time.monotonic() > turn_end:
                break
        if self.is_closed or self._has_finished:
            self.abort()

    @property
    def _has_finished(self) -> bool:
        """Whether it is done, after close_after_response was called between two turns."""
        http = self._http
        return http.state is State.IDLE and not (http.keep_alive or self._is_turn_over)

    def _handle(self, request: Request) -> None:
        self._request, self._started_at = request, time.time()
        second = int(self._started_at)
        response = self._context.handle(request, second, self.client)
        if not self._reserve_descriptors(response):
            rejected = request._replace(error=TOO_MANY_FILES)
            response = self._context.handle(rejected, second, self.client)
        parts = self._http.start_response(response, format_date(second))
        self._status, self._body_size = response.status, sum(map(len, response.body))
        self._response_start, self._response_end = (
            self._bytes_sent,
            self._bytes_sent + sum(map(len, parts)),
        )
        self._outgoing.extend(parts)
        self._send_some()

    def _reserve_descriptors(self, response: Response) -> bool:
        """Reserve descriptors for the response's file. Return whether there are enough."""
        if not any(isinstance(part, FileSlice) for part in response.body):
            return True
        self._holds_descriptors = self._context.limiter.reserve_descriptors(
            self, self.descriptors_per_file
        )
        return self._holds_descriptors

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
            self._response_sent()
        return self._bytes_sent > before

    def _send_part(self, part: BodyPart) -> None:
        if isinstance(part, bytes):
            more = socket.MSG_MORE if len(self._outgoing) > 1 else 0
            count = self.socket.send(part, more)
            rest: BodyPart = part[count:]
        else:
            source, max_count = part.source.fileno(), min(len(part), _MAX_BYTES_PER_TURN)
            count = os.sendfile(self.socket.fileno(), source, part.start, max_count)
            if not count:
                raise EOFError(f"the file ended {len(part)} bytes early")
            rest = FileSlice(part.source, part.start + count, part.stop)
        self._bytes_sent += count
        if len(rest):
            self._outgoing[0] = rest
        else:
            self._outgoing.popleft()

    def _truncate(self, error: OSError | EOFError) -> None:
        """Close, so that the client sees that the response is shorter than its Content-Length."""
        if not isinstance(error, ConnectionError):
            _logger.error("%s: response truncated: %s", self._request.target, error)
        self.abort()

    def _response_sent(self) -> None:
        if self._holds_descriptors:
            self._holds_descriptors = False
            self._context.limiter.release_descriptors(self)
        self._record(self._body_size)
        self._deadlines.reset()
        self._http.response_sent()
        if self._http.state is State.LINGERING:
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
        elif self.is_closed:
            self.abort()

    def _record(self, body_size: int) -> None:
        if observer := self._context.observer:
            observer(self.client, self._request, self._status, body_size, self._started_at)

    def _record_truncated(self) -> None:
        """Record a response that ends before it is complete, if one is being sent."""
        if self._http.state is State.SENDING and self._bytes_sent < self._response_end:
            self._record_partial(
                self._status, max(0, self._body_size - (self._response_end - self._bytes_sent))
            )
        elif self._http.state is State.HANDLING:  # not even the 500 could be made
            self._record_partial(500, 0)

    def _record_partial(self, status: int, body_size: int) -> None:
        if observer := self._context.observer:
            observer(self.client, self._request, status, body_size, self._started_at, True)
