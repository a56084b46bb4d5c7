"""How a connection is opened and closed, again and again, whatever is sent on it."""

import asyncio
import errno
import os
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable

from abench.client.connection_pool import ConnectionPool
from abench.client.socket_transport import OpeningTimes, SocketTransport
from abench.client.tls_sessions import describe_session
from abench.stats.handshakes import NO_SESSION


class ReopenedConnection(ABC):
    """A connection that is opened when a request needs it, and paused after a failed attempt.

    `sent_at` is when the request in flight was sent, in microseconds of the monotonic clock; 0
    when there is none. One that has to open its connection first is in flight from that moment.
    """

    __slots__ = (
        "_awaits_first_byte",
        "_connected",
        "_failed_connects",
        "_is_closing",
        "_opened_at_us",
        "_pool",
        "_transport",
        "cancel_connect",
        "sent_at",
    )

    def __init__(self, pool: ConnectionPool) -> None:
        self.sent_at = 0
        self._pool = pool
        self._transport: SocketTransport | None = None
        self.cancel_connect = None
        self._connected: asyncio.Future[None] | None = None  # before the run: an attempt has ended
        self._awaits_first_byte = False  # a request is in flight, without a byte of its response
        self._is_closing = False  # closed by this side, which awaits connection_lost
        self._failed_connects = 0  # failed attempts since the last that succeeded
        self._opened_at_us = 0  # when the last connection was open

    cancel_connect: Callable[[], object] | None
    """Cancels the attempt to connect, while there is one."""

    @abstractmethod
    def send_next(self) -> None:
        """Start a request, if one remains."""

    @abstractmethod
    def _fail(self, kind: str, *detail: object) -> None:
        """Fail the request in flight, and abort its connection; `detail` is the message."""

    # Called by its transport.

    @abstractmethod
    def connection_made(self, transport: SocketTransport) -> None:
        """Use a new connection that the connector has opened."""

    @abstractmethod
    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer that the transport is to read into."""

    @abstractmethod
    def buffer_updated(self, nbytes: int) -> None:
        """Handle `nbytes` that the transport has read into the buffer."""

    @abstractmethod
    def eof_received(self, *, orderly: bool = True) -> None:
        """Handle the end of the server's data: the transport closes after it."""

    @abstractmethod
    def connection_lost(self, exc: Exception | None) -> None:
        """Handle the end of a connection, and open the next."""

    # How it is opened and closed.

    @property
    def is_open(self) -> bool:
        """Whether the connection is open."""
        return self._transport is not None

    async def connect(self, limit_s: float) -> None:
        """Connect without a request; on failure, or after `limit_s` seconds, stay closed."""
        if not self._pool.remaining:  # the run was stopped before it began
            return
        self._connected = asyncio.get_running_loop().create_future()
        self._pool.connector.connect(self)
        try:
            async with asyncio.timeout(limit_s):
                await self._connected
        except TimeoutError:
            if self.cancel_connect:
                self.cancel_connect()

    def opened(self, times: OpeningTimes, tls: ssl.SSLObject | None = None) -> None:
        """Record how long a connection took to open, and what TLS agreed on."""
        self._opened_at_us = times.opened_at_us
        recorder = self._pool.recorder
        recorder.phases.connect.append(times.connect_us)
        if tls and times.handshake_us is not None:
            recorder.phases.handshake.append(times.handshake_us)
            recorder.handshakes.resumed += bool(tls.session_reused)
            if recorder.handshakes.session is NO_SESSION:
                recorder.handshakes.session = describe_session(tls)

    def connect_failed(
        self, error_number: int = 0, reason: str = "", message: str = "", kind: str = "connect"
    ) -> None:
        """Count a connection that could not be opened, and retry after a pause."""
        self._failed_connects += 1
        self._connect_finished()
        if not self._pool.running:
            return
        reason = reason or errno.errorcode.get(error_number, "timeout")
        self._pool.recorder.connect_failed(reason)
        message = message or (
            os.strerror(error_number) if error_number else "no connection was opened in time"
        )
        self._pool.recorder.sample(kind, reason, message)
        self._fail(kind)
        if self._transport is None:  # else it opened as it was cancelled, and connection_lost sends
            pause = self._pool.backoff.delay(self._failed_connects)
            self._pool.count_paused(1)
            asyncio.get_running_loop().call_later(pause, self._resume_after_pause)

    def _resume_after_pause(self) -> None:
        """Send after a pause."""
        self._pool.count_paused(-1)
        self.send_next()

    def _connect_finished(self) -> None:
        self.cancel_connect = None
        if self._connected and not self._connected.done():
            self._connected.set_result(None)

    def _drop(self) -> None:
        self._awaits_first_byte = False
        self._is_closing = True
        if self._transport is not None:
            self._transport.abort()

    def _close(self) -> None:
        self._awaits_first_byte = False
        self._is_closing = True
        if self._transport is not None:
            self._transport.close()
