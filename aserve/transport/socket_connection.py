"""One client's connection on a non-blocking socket, for the models that have no asyncio.

Every system call here is one that would rather say EAGAIN than wait. Who finds out when it is
worth while is the model's part.
"""

import logging
import os
import socket
import time
from collections import deque
from contextlib import suppress

from aserve.handlers.static_site import StaticSite
from aserve.http.dates import format_date
from aserve.http.error_pages import TOO_MANY_FILES, error_response
from aserve.http.messages import BodyPart, FileSlice, HttpError, Request, Response
from aserve.http1.connection import H1Connection
from aserve.http1.limits import Limits
from aserve.http1.states import State
from aserve.http1.timeouts import Deadlines
from aserve.transport.connection_limiter import ConnectionLimiter, Decision, ProcessLimits
from aserve.transport.eventloop.connection_host import ResponseObserver
from aserve.transport.internal_errors import isolate_errors, log_internal_error
from aserve.transport.turns import MAX_TURN_S

_READ_SIZE = 65_536  # octets at once
_MAX_BUFFERED_INPUT = (
    65_536  # octets of requests behind the one being answered; then reading pauses
)
_MAX_BYTES_PER_TURN = 1 << 20  # octets of a file at once: then others have their turn
MAX_REQUESTS = 16
"""Pipelined requests of one connection that are answered in a turn: then others have theirs."""

_logger = logging.getLogger("aserve")


class ConnectionContext:
    """What all conversations of one model share."""

    def __init__(
        self,
        site: StaticSite,
        limits: Limits,
        observe: ResponseObserver | None,
        bounds: ProcessLimits,
    ) -> None:
        self.site = site
        self.limits = limits
        self.observer = observe
        self.limiter: ConnectionLimiter[SocketConnection] = ConnectionLimiter(bounds)

    @property
    def active_responses(self) -> int:
        """How many are being worked out or sent."""
        return sum(talk.is_responding for talk in list(self.limiter.connections))

    def handle(self, request: Request, second: int) -> Response:
        """Return the response to a request, or to what is wrong with it."""
        if request.error:
            return error_response(request, request.error)
        return self.site.handle(request, second)


class SocketConnection:
    """One client: what its socket has goes into the exchange, what comes out goes back."""

    is_blocking = False
    """Whether calls on the socket may wait."""
    descriptors_per_file = 1
    """How many a response takes whose content is in a file."""

    def __init__(self, connection: socket.socket, client: str, context: ConnectionContext) -> None:
        connection.setblocking(self.is_blocking)
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self.client = client
        self._context = context
        self._http = H1Connection(context.limits)
        self._deadlines = Deadlines(context.limits)
        self._outgoing: deque[BodyPart] = deque()  # of the reply that is leaving
        self._bytes_received = self._bytes_sent = 0  # octets
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
        """Whether something waits to be sent."""
        return bool(self._outgoing)

    @property
    def wants_read(self) -> bool:
        """Whether what arrives is wanted now."""
        exchange = self._http
        if exchange.eof_received or self.is_closed:
            return False
        return not self._outgoing or exchange.buffered <= _MAX_BUFFERED_INPUT

    @property
    def wants_turn(self) -> bool:
        """Whether another turn is due, whatever the socket says: the last one was cut short."""
        return self._is_turn_over and not self._outgoing

    @property
    def is_responding(self) -> bool:
        """Whether a response is being worked out or sent."""
        return self._http.state in {State.HANDLING, State.SENDING}

    def process_ready(self, *, readable: bool = True) -> bool:
        """Write once and read once, as far as there is need; tell whether more may come of it."""
        try:
            went = self._send_some()
            if (went or self._is_turn_over) and not self._outgoing:
                self._process_requests()
            # Not before what was read has been looked at: what waits stays bounded.
            if readable and not self._is_turn_over and self.wants_read:
                went = self._receive() or went
        except Exception as error:  # noqa: BLE001 - as contained does, without a call
            self.fail(error)
            went = True
        return went and not self.is_closed

    @isolate_errors
    def reject(self, status: int, why: str) -> None:
        """Answer what has not been asked, as refuse does; for those outside."""
        self._reject(status, why)

    def _reject(self, status: int, why: str) -> None:
        """Answer what has not been asked, or not in time, and end with that."""
        self._handle(self._http.reject(HttpError(status, why)))

    @isolate_errors
    def close_after_response(self) -> None:
        """End with the reply that is under way, at once where there is none."""
        self._http.close_after_response()
        if self._http.state is State.IDLE and not self._is_turn_over:
            self.abort()

    def fail(self, error: Exception) -> None:
        """End because of a fault of ours: with 500 where nothing of a response has left yet."""
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
        """End at once; more than once is harmless.

        Whatever fails in it, the connection's place and its descriptor are given back.
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
        if self.socket.fileno() >= 0:  # closing failed, or waits for somebody
            self._release_fd()

    @isolate_errors
    def tick(self) -> None:
        """Grow a second older; give up on a client that takes too long."""
        state, stuck = self._http.state, self.wants_write
        if not self._deadlines.expired(
            state, self._bytes_received, self._bytes_sent, is_blocked=stuck
        ):
            return
        if not stuck and state in {State.HEAD, State.BODY}:
            self._reject(408, "The request took too long to arrive.")
        else:
            self.abort()

    @property
    def _has_pending_io(self) -> bool:
        """Whether somebody else works on the response, so that it cannot be replaced."""
        return False

    @isolate_errors
    def _admit(self) -> None:
        admission = self._context.limiter.admit(self)
        if admission is Decision.REJECT:
            self._reject(503, "Too many connections are open. Try again in a moment.")
        elif admission is Decision.DROP:
            self.abort()

    def _release_slot(self) -> None:
        self._context.limiter.remove(self)

    def _receive(self) -> bool:
        try:
            octets = self.socket.recv(_READ_SIZE)
        except BlockingIOError:
            return False
        except OSError:  # a client which has gone
            self.abort()
            return False
        self._feed(octets)
        return True

    def _feed(self, octets: bytes) -> None:
        """Go on with what has arrived; with nothing, which is the client's end."""
        self._bytes_received += len(octets)
        if octets:
            self._http.receive(octets)
        else:
            self._http.receive_eof()
        self._process_requests()

    def _close(self) -> None:
        self.socket.close()

    def _release_fd(self) -> None:
        """Give the descriptor back, as soon as nobody uses it."""
        os.close(self.socket.detach())

    def _process_requests(self) -> None:
        """Answer what is there to be answered, in order, as long as the client takes it.

        Not all of it: 2,200 requests fit into one read and took 43 ms, in which nobody else got
        a word in.
        """
        exchange = self._http
        goal, end = self._bytes_sent + _MAX_BYTES_PER_TURN, time.monotonic() + MAX_TURN_S
        for _ in range(MAX_REQUESTS):
            request = None if self._outgoing else exchange.next_request()
            if not request:
                self._is_turn_over = exchange.is_paused
                break
            self._handle(request)
            self._is_turn_over = not exchange.is_idle
            if self._bytes_sent > goal or time.monotonic() > end:
                break
        if self.is_closed or self._has_finished:
            self.abort()

    @property
    def _has_finished(self) -> bool:
        """Whether nothing more is to come, where finish was called between two turns."""
        exchange = self._http
        return exchange.state is State.IDLE and not (exchange.keep_alive or self._is_turn_over)

    def _handle(self, request: Request) -> None:
        self._request, self._started_at = request, time.time()
        second = int(self._started_at)
        response = self._reserve_descriptors(request, self._context.handle(request, second))
        pieces = self._http.start_response(response, format_date(second))
        self._status, self._body_size = response.status, sum(map(len, response.body))
        self._response_start, self._response_end = (
            self._bytes_sent,
            self._bytes_sent + sum(map(len, pieces)),
        )
        self._outgoing.extend(pieces)
        self._send_some()

    def _reserve_descriptors(self, request: Request, response: Response) -> Response:
        """Return a response, or 503 where there is no descriptor for what it is to be read from."""
        if not any(isinstance(piece, FileSlice) for piece in response.body):
            return response
        self._holds_descriptors = self._context.limiter.reserve_descriptors(
            self, self.descriptors_per_file
        )
        return response if self._holds_descriptors else error_response(request, TOO_MANY_FILES)

    def _send_some(self) -> bool:
        """Send what can leave now; tell whether anything did."""
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

    def _send_part(self, piece: BodyPart) -> None:
        if isinstance(piece, bytes):
            more = socket.MSG_MORE if len(self._outgoing) > 1 else 0
            count = self.socket.send(piece, more)
            rest: BodyPart = piece[count:]
        else:
            source, most = piece.source.fileno(), min(len(piece), _MAX_BYTES_PER_TURN)
            count = os.sendfile(self.socket.fileno(), source, piece.start, most)
            if not count:
                raise EOFError(f"the file ended {len(piece)} octets early")
            rest = FileSlice(piece.source, piece.start + count, piece.stop)
        self._bytes_sent += count
        if len(rest):
            self._outgoing[0] = rest
        else:
            self._outgoing.popleft()

    def _truncate(self, error: OSError | EOFError) -> None:
        """End; Content-Length was promised and cannot be kept: an end that shows is honest."""
        if not isinstance(error, ConnectionError):
            _logger.error("%s: reply cut short: %s", self._request.target, error)
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

    def _record(self, octets: int) -> None:
        if observe := self._context.observer:
            observe(self.client, self._request, self._status, octets, self._started_at)

    def _record_truncated(self) -> None:
        """Tell of a response that ends before it is complete, if one is under way."""
        if self._http.state is State.SENDING and self._bytes_sent < self._response_end:
            self._record_partial(
                self._status, max(0, self._body_size - (self._response_end - self._bytes_sent))
            )
        elif self._http.state is State.HANDLING:  # not even the 500 could be made
            self._record_partial(500, 0)

    def _record_partial(self, status: int, octets: int) -> None:
        if observe := self._context.observer:
            observe(self.client, self._request, status, octets, self._started_at, True)
