"""One client's connection, as far as it does not matter how its bytes are moved."""

import logging
import struct
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

from aserve.http.messages import HttpError, OnEnd, Request
from aserve.http1.connection import H1Connection
from aserve.http1.limits import Limits
from aserve.http1.states import State
from aserve.http1.timeouts import Deadlines
from aserve.transport.connection_limiter import ConnectionLimiter, Decision
from aserve.transport.internal_errors import isolate_errors, log_internal_error
from aserve.transport.observers import ResponseObserver
from aserve.transport.response_end import ResponseEnd

if TYPE_CHECKING:
    from aserve.transport.proxied_client import ProxiedClient

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: close sends RST, socket(7)."""
MAX_BUFFERED_INPUT = 65_536
"""Bytes of pipelined requests that wait; then reading pauses."""

_NO_REQUEST = Request("", "")

_logger = logging.getLogger("aserve")


class ServerContext(Protocol):
    """What all connections of one server share."""

    limits: Limits
    observer: ResponseObserver | None
    limiter: "ConnectionLimiter[ServerConnection]"


class ServerConnection(ABC):
    """One client: its HTTP parser, its deadlines, and the record of what it was sent.

    A subclass moves the bytes: on asyncio's transport, or on a socket. peer: the address at the
    other end. received: how many bytes were read from the client before.
    """

    __slots__ = (
        "_body_started_at",
        "_bytes_received",
        "_deadlines",
        "_has_failed",
        "_holds_descriptors",
        "_http",
        "_limiter",
        "_limits",
        "_observer",
        "_on_end",
        "_peer",
        "_proxied",
        "_request",
        "_response_start",
        "_started_at",
        "_status",
        "is_shared",
    )

    descriptors_per_file = 1
    """How many a response takes that is read from a file."""

    def __init__(self, context: ServerContext, peer: str = "", received: int = 0) -> None:
        self._peer = peer
        self._proxied: ProxiedClient | None = None  # where the peer is a trusted proxy
        self.is_shared = False
        """Whether it was that of a trusted proxy, and so of many clients, when it was admitted."""
        self._limits = context.limits
        self._limiter = context.limiter
        self._observer = context.observer
        self._http = H1Connection(context.limits)
        self._deadlines: Deadlines | None = None  # set by the first tick
        self._bytes_received = received
        self._response_start = 0  # bytes sent before this response
        self._status = 0
        self._holds_descriptors = False  # reserved, besides its own
        self._has_failed = False
        self._request = _NO_REQUEST
        self._on_end: OnEnd | None = None  # of the response that is being sent
        self._started_at = 0.0  # POSIX seconds
        self._body_started_at = 0.0  # the same, of the last body that a sink has got

    # How a subclass moves bytes.

    @abstractmethod
    def _dispatch(self, request: Request) -> None:
        """Have a request handled, and start to send the response."""

    @abstractmethod
    def _process_requests(self) -> None:
        """Handle the buffered requests in order, as long as the client reads the responses."""

    @abstractmethod
    def _total_sent(self) -> int:
        """Return how many bytes were sent, or handed over to be sent."""

    @abstractmethod
    def _total_delivered(self) -> int:
        """Return how many of them no longer wait in this process."""

    @property
    @abstractmethod
    def _is_blocked(self) -> bool:
        """Whether data waits for the client to read."""

    @property
    @abstractmethod
    def _has_pending_io(self) -> bool:
        """Whether the response is being sent elsewhere, so that it cannot be replaced."""

    @property
    @abstractmethod
    def _has_turn_pending(self) -> bool:
        """Whether requests are left for the next turn."""

    @abstractmethod
    def _cancel_turn(self) -> None:
        """Forget what is left for the next turn, and the response that is not sent yet."""

    @abstractmethod
    def _shutdown_write(self) -> None:
        """Close the sending side, after the last response."""

    @abstractmethod
    def _close(self) -> None:
        """Close, once everything is sent."""

    @abstractmethod
    def _reset_when_closed(self) -> None:
        """Have the kernel send RST and not FIN when the socket is closed."""

    @abstractmethod
    def abort(self) -> None:
        """Close at once."""

    # Called by the server.

    @property
    def peer(self) -> str:
        """The address at the other end of the connection, or "-" if it has none."""
        return self._peer

    @property
    def client(self) -> str:
        """The address of the client of the current request: the peer's, unless that is a proxy."""
        return self._proxied.facts.client if self._proxied else self._peer

    @property
    def is_responding(self) -> bool:
        """Whether a response is being made or sent."""
        return self._http.state in {State.HANDLING, State.SENDING}

    @property
    def is_receiving(self) -> bool:
        """Whether a request is waited for, or is arriving."""
        return self._http.state <= State.BODY

    @isolate_errors
    def close_after_response(self) -> None:
        """Close after the response that is being sent, or at once if there is none."""
        self._close_after_response()

    def close_after_next_response(self) -> None:
        """Close after the next response that is not started yet; wait for its request.

        Any thread may call this.
        """
        self._http.close_after_next_response()

    def _use_context(self, context: ServerContext) -> None:
        """Serve the next requests with what a reload has made."""
        self._limits, self._observer = context.limits, context.observer
        self._http.change_limits(context.limits)
        if self._deadlines:
            self._deadlines.change_limits(context.limits)

    @property
    def _is_between_requests(self) -> bool:
        """Whether nothing has begun that has to end as it began; a head may be arriving."""
        return self._http.state <= State.HEAD

    def _close_after_response(self) -> None:
        self._http.close_after_response()
        if self._http.state is State.IDLE and not self._has_turn_pending:
            self._close()

    @isolate_errors
    def tick(self) -> None:
        """Close a client that takes too long; called once a second."""
        self._check_deadlines()

    def fail(self, error: Exception) -> None:
        """Close because of an internal error, with a 500 if no byte of a response was sent yet."""
        log_internal_error(error, self.client)
        if self._can_replace_response():
            self._has_failed = True
            try:
                self._cancel_turn()
                self._reject(500, "Something went wrong here.")
            except Exception as another:  # noqa: BLE001 - the last boundary of a connection
                log_internal_error(another, self.client)
            else:
                return
        self._abort_response()

    def _can_replace_response(self) -> bool:
        if self._has_failed or self._has_pending_io:
            return False
        state = self._http.state
        is_untouched = state is State.SENDING and self._total_sent() == self._response_start
        return state <= State.HANDLING or is_untouched

    def _abort_response(self) -> None:
        """Close at once, and record a response that is being made or sent as truncated."""
        self.abort()

    def _reset_if_unfinished(self) -> None:
        """Have abort send RST where FIN would look like the end of the response."""
        if self._http.ends_by_closing and self._http.state is State.SENDING:
            self._reset_when_closed()

    def _check_deadlines(self) -> None:
        if not self._deadlines:
            self._deadlines = Deadlines(self._limits)
        state, is_blocked = self._http.state, self._is_blocked
        if not self._deadlines.expired(
            state, self._bytes_received, self._total_delivered(), is_blocked=is_blocked
        ):
            return
        if is_blocked:
            self.abort()
        elif state in {State.HEAD, State.BODY}:
            self._reject(408, "The request took too long to arrive.")
        else:
            self._close()

    # The path of a request.

    def _reject_or_drop(self, decision: Decision) -> None:
        """Reject or drop a connection that was not accepted."""
        if decision is Decision.REJECT:
            self._reject(503, "Too many connections are open. Try again in a moment.")
        elif decision is Decision.DROP:
            self.abort()

    def _reject(self, status: int, detail: str) -> None:
        """Send an error response without a complete request, then close the connection."""
        self._dispatch(self._http.reject(HttpError(status, detail)))
        self._process_requests()

    @property
    def _has_finished(self) -> bool:
        """Whether it is done, since close_after_response was called between two turns."""
        http = self._http
        return http.state is State.IDLE and http.is_closing and not self._has_turn_pending

    def _reserve_descriptors(self) -> bool:
        """Reserve descriptors for a file or a tunnel. Return whether there are enough."""
        self._holds_descriptors = self._holds_descriptors or self._limiter.reserve_descriptors(
            self, self.descriptors_per_file
        )
        return self._holds_descriptors

    def _release_descriptors(self) -> None:
        if self._holds_descriptors:
            self._holds_descriptors = False
            self._limiter.release_descriptors(self)

    def _response_sent(self, status: int, body_size: int) -> None:
        """Record a response that was sent, and go on to the next request or close."""
        if self._holds_descriptors:
            self._release_descriptors()
        if self._on_end:
            self._end_response(body_size, is_truncated=False)
        if self._observer:
            self._record(status, body_size, self._started_at)
        if self._deadlines:
            self._deadlines.reset()
        self._http.response_sent()
        if self._http.state is State.LINGERING:
            self._shutdown_write()
        elif self._http.state is State.CLOSED:
            self._close()

    def _end_response(self, body_size: int, *, is_truncated: bool) -> None:
        """Tell the handler, if it wants to know, that its response has ended."""
        on_end, self._on_end = self._on_end, None
        if on_end:
            self._release_end(ResponseEnd(on_end, body_size, is_truncated=is_truncated))

    def _release_end(self, end: ResponseEnd) -> None:
        end.close()  # which may wait

    def _truncate(self, error: Exception) -> None:
        """Close, so that the client sees that the response is shorter than announced."""
        if not isinstance(error, (OSError, EOFError)):
            log_internal_error(error, self.client)
        elif not isinstance(error, ConnectionError):  # a client that has gone is no error
            _logger.error("%s: response truncated: %s", self._request.target, error)
        self.abort()

    def _record(self, status: int, body_size: int, started_at: float) -> None:
        if self._observer:
            request = self._request
            if received := self._http.body_received:
                request, started_at = request._replace(received=received), self._body_started_at
            self._observer(self.client, request, status, body_size, started_at)

    def _record_truncated(self, status: int, body_size: int) -> None:
        """Record a truncated response. body_size: bytes of its body that were sent."""
        if self._on_end:
            self._end_response(max(0, body_size), is_truncated=True)
        if self._observer:
            request = self._request._replace(received=self._http.body_received)
            self._observer(self.client, request, status, max(0, body_size), self._started_at, True)
