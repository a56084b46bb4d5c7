"""One client's connection on a socket, for the models without asyncio.

Every system call here returns EAGAIN instead of waiting. When to call is the model's decision.
"""

import os
import socket
import time
from contextlib import suppress
from functools import partial

from aserve.cache.keys import ConnectionFacts
from aserve.http.dates import format_date
from aserve.http.error_pages import TOO_MANY_FILES
from aserve.http.messages import (
    BodySink,
    HttpError,
    Request,
    Response,
    close_streams,
)
from aserve.http1.connection import CONTINUE
from aserve.http1.states import State
from aserve.transport.connection_context import ConnectionContext
from aserve.transport.connection_limiter import Decision
from aserve.transport.internal_errors import isolate_errors, log_internal_error
from aserve.transport.proxy_header_connection import ProxyHeaderConnection
from aserve.transport.response_end import end_unsent
from aserve.transport.server_connection import MAX_BUFFERED_INPUT
from aserve.transport.turns import MAX_REQUESTS_PER_TURN, MAX_TURN_S

READ_SIZE = 65_536
"""Bytes per read."""
_MAX_SENT_PER_TURN = 1 << 20  # bytes; then other connections have their turn

_NO_TAKEOVER = HttpError(501, "The server's I/O model cannot hand over a connection.")


class SocketConnection(ProxyHeaderConnection):
    """One client: feeds bytes from its socket to the HTTP parser, and sends the responses."""

    is_blocking = False
    """Whether calls on the socket may wait."""

    def __init__(self, sock: socket.socket, peer: str, context: ConnectionContext) -> None:
        super().__init__(sock, peer, context)
        sock.setblocking(self.is_blocking)
        with suppress(OSError):  # no TCP: a Unix socket delays nothing
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._join(context)
        self._is_aborted = self._is_turn_over = False
        if self._expect_header(context):
            self.is_shared = self._proxied is not None or self._header_reader is not None
            self._admit()
        else:
            self.abort()

    @property
    def is_closed(self) -> bool:
        """Whether the socket is closed."""
        return self._http.state is State.CLOSED

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

    def interrupt(self) -> None:
        """End a recv that waits for the next request: it finds the end of file.

        A signal handler may call this at any moment. What has been received is still answered.
        """
        if self._http.is_idle:
            with suppress(OSError):  # the client has gone
                self.socket.shutdown(socket.SHUT_RD)

    def abort(self) -> None:
        """Close at once. Calling it again has no effect.

        Whatever fails here, the connection's slot and its descriptor are released.
        """
        if self._is_aborted:
            return
        self._is_aborted = True
        steps = (
            self._record_unfinished,
            self._reset_if_unfinished,
            self._http.close,
            self._close_sink,
            self._drop_outgoing,
            self._release_slot,
            self._close_socket,
        )
        for step in steps:
            try:
                step()
            except Exception as error:  # noqa: BLE001 - the last boundary of a connection
                log_internal_error(error, self.client)
                self._http.state = State.CLOSED
        if self.socket.fileno() >= 0:  # closing has failed, or waits for pending I/O
            self._release_fd()

    def _join(self, context: ConnectionContext) -> None:
        """Serve the next requests with a context, which may be that of a reload."""
        self._use_context(context)
        self._context = context
        self._facts = ConnectionFacts(self._peer)
        self._proxied = proxied = context.proxied_client(self._facts, self.socket.family)
        accept_body = partial(context.accept_body, self._facts)
        count_request = partial(context.count_request, self._facts)
        if proxied:
            accept_body = partial(context.accept_proxied_body, proxied)
            count_request = partial(context.count_proxied_request, proxied)
        self._http.accept_body = accept_body if context.site.accept_body else None
        self._http.count_request = count_request if context.site.count_request else None
        if context.is_retired:
            self.close_after_next_response()

    def _use_peer(self) -> None:
        self._join(self._context)

    def _check_deadlines(self) -> None:
        if self._context.is_replaced and self._is_between_requests:
            self._join(self._context.latest)
        super()._check_deadlines()

    # How bytes are moved.

    @property
    def _has_pending_io(self) -> bool:
        return False

    @property
    def _has_turn_pending(self) -> bool:
        return self._is_turn_over

    def _cancel_turn(self) -> None:
        self._is_turn_over = False
        self._drop_outgoing()

    def _close(self) -> None:
        self.abort()  # the kernel sends what it has taken

    @isolate_errors
    def _admit(self) -> None:
        decision = self._limiter.admit(self)
        if decision is not Decision.ACCEPT:
            self._reject_or_drop(decision)

    def _release_slot(self) -> None:
        self._limiter.remove(self)

    def _receive(self) -> bool:
        try:
            data = self.socket.recv(READ_SIZE)
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
        if self._header_reader and self.is_receiving:  # and is not rejected
            self._feed_header(self._header_reader, data)
            return
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
        max_bytes_sent = self._bytes_sent + _MAX_SENT_PER_TURN
        turn_end = time.monotonic() + MAX_TURN_S
        for _ in range(MAX_REQUESTS_PER_TURN):
            if self._context.is_replaced and self._is_between_requests:
                self._join(self._context.latest)
            request = None if self._outgoing else http.next_request()
            if http.sink:
                request = self._write_body(http.sink, request)
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
        self._begin(request)
        self._start_response(self._make_response())
        self._send_some()

    def _begin(self, request: Request) -> None:
        self._request, self._started_at = self._as_sent(request), time.time()

    def _as_sent(self, request: Request) -> Request:
        """Return a request as its client has sent it, and note who that is behind a proxy."""
        if self._proxied:
            request = self._proxied.identify(request)
            self._facts = self._proxied.facts
        return request

    def _make_response(self) -> Response:
        request, second = self._request, int(self._started_at)
        return self._check_response(request, self._respond(request, second), second)

    def _start_response(self, response: Response) -> None:
        """Have a response sent from now on."""
        if self._on_end:  # it is sent in place of another one, which has failed
            self._end_response(0, is_truncated=True)
        self._on_end = response.on_end
        parts = self._http.start_response(response, format_date(int(self._started_at)))
        self._status, self._body_size = response.status, self._http.body_size
        self._response_start, self._response_end = (
            self._bytes_sent,
            self._bytes_sent + sum(map(len, parts)),
        )
        self._outgoing.extend(parts)

    def _write_body(self, sink: BodySink, request: Request | None) -> Request | None:
        """Write what has arrived of a body. Return the request once it can be answered."""
        http = self._http
        if request and request.error:
            return request
        try:
            if http.sink_is_new:
                http.sink_is_new = False
                self._body_started_at = time.time()
                sink.begin()
            if data := http.take_body():
                sink.write(data)
        except HttpError as error:
            return http.reject_body(error)
        if http.wants_continue:
            http.wants_continue = False
            self._outgoing.append(CONTINUE)
            self._send_some()
        return request

    def _respond(self, request: Request, second: int) -> Response:
        """Return the response of the site, or of the sink that has got the request's body."""
        sink, context, facts = self._http.sink, self._context, self._facts
        if not sink:
            return context.handle(request, second, facts)
        try:
            if request.error:
                return context.handle(request, second, facts)
            return context.finish(request, second, facts, sink.respond())
        except HttpError as error:
            rejected = self._as_sent(self._http.reject_body(error))
            return context.handle(rejected, second, facts)
        finally:
            self._close_sink()

    def _close_sink(self) -> None:
        sink, self._http.sink = self._http.sink, None
        if sink:
            sink.close()

    def _check_response(self, request: Request, response: Response, second: int) -> Response:
        """Return the response, or an error if it cannot be sent."""
        if response.takeover:
            response.takeover.abort()
            error = _NO_TAKEOVER
        elif all(isinstance(part, bytes) for part in response.body) or self._reserve_descriptors():
            return response
        else:
            close_streams(response.body)
            end_unsent(response)
            error = TOO_MANY_FILES
        return self._context.handle(request._replace(error=error), second, self._facts)
