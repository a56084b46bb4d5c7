"""A tunnel: two connections joined, each as fast as the other one reads (RFC 9110 9.3.6)."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from aserve.http.messages import HttpError
from aserve.http1.limits import UNLIMITED

_CONNECT_TIMEOUT = 10  # seconds that the target has to accept the connection


class TunnelEnd(asyncio.Protocol):
    """One end of a tunnel: forwards what it receives to the other end."""

    __slots__ = (
        "_buffered",
        "_tunnel",
        "has_ended",
        "is_lost",
        "peer",
        "transport",
    )

    def __init__(self, tunnel: "Tunnel") -> None:
        self._tunnel = tunnel
        self._buffered: list[bytes] = []  # received before the tunnel was open
        self.has_ended = False  # end of file was received
        self.is_lost = False
        self.peer: TunnelEnd
        self.transport: asyncio.Transport | None = None

    @property
    def open_transport(self) -> asyncio.Transport | None:
        """The transport, or None if it is closed."""
        return self.transport if self.transport and not self.transport.is_closing() else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Forward data to the other end."""
        self._tunnel.idle_ticks = 0
        if not self._tunnel.is_open:
            self._buffered.append(data)
        elif peer := self.peer.open_transport:
            peer.write(data)

    def flush(self) -> None:
        """Forward what was received before the tunnel was open, the end of file included."""
        for data in self._buffered:
            self.data_received(data)
        self._buffered.clear()
        if self.is_lost:
            self.connection_lost(None)
        elif self.has_ended:
            self.eof_received()

    def pause_writing(self) -> None:
        """Stop reading from the other end, which sends faster than this one reads."""
        if peer := self.peer.open_transport:
            peer.pause_reading()

    def resume_writing(self) -> None:
        """Read from the other end again."""
        if peer := self.peer.open_transport:
            peer.resume_reading()

    def eof_received(self) -> bool:
        """Forward the end of one direction; after the second one the tunnel closes."""
        self.has_ended = True
        if not self._tunnel.is_open:
            return True
        peer = self.peer.open_transport
        if self.peer.has_ended or (peer and not peer.can_write_eof()):  # TLS has no half-close
            self._tunnel.close()
        elif peer:
            with suppress(OSError):  # the connection was reset
                peer.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other end, too: at once after an error, else once its data is sent."""
        self.is_lost = True
        if not self._tunnel.is_open:
            return
        if peer := self.peer.open_transport:
            (peer.abort if exc else peer.close)()
        if self.peer.is_lost:
            self._tunnel.on_closed(exc)


class Tunnel:
    """Two joined connections: a client's, and one to host and port.

    idle_timeout: seconds without a byte in either direction, after which it is closed.
    """

    __slots__ = (
        "_address",
        "_idle_timeout",
        "client_end",
        "idle_ticks",
        "is_open",
        "needs_descriptor",
        "on_closed",
        "target_end",
    )

    def __init__(self, host: str, port: int, *, idle_timeout: int = UNLIMITED) -> None:
        self.client_end, self.target_end = TunnelEnd(self), TunnelEnd(self)
        self.client_end.peer, self.target_end.peer = self.target_end, self.client_end
        self.is_open = False
        self.idle_ticks = 0  # ticks since the last byte, in either direction
        self.needs_descriptor = True
        self.on_closed: Callable[[Exception | None], None]
        self._address = host, port
        self._idle_timeout = idle_timeout

    async def prepare(self) -> None:
        """Connect to the target. Raises HttpError if that fails."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                await loop.create_connection(lambda: self.target_end, *self._address)
        except TimeoutError:
            raise HttpError(504, "The target of the tunnel does not answer.") from None
        except (OSError, UnicodeError):  # UnicodeError: not a valid host name
            raise HttpError(502, "The target of the tunnel cannot be reached.") from None

    def start(
        self,
        transport: asyncio.Transport,
        received: bytes,
        *,
        has_ended: bool,
        on_closed: Callable[[Exception | None], None],
    ) -> None:
        """Join the client's connection with the target's, which is connected."""
        self.on_closed = on_closed
        self.client_end.transport = transport
        transport.set_protocol(self.client_end)
        if received:
            self.client_end.data_received(received)
        self.client_end.has_ended = has_ended
        self.is_open = True
        self.client_end.flush()
        self.target_end.flush()

    def tick(self) -> None:
        """Close if no byte has come for too long."""
        self.idle_ticks += 1
        if self.idle_ticks >= self._idle_timeout:
            self.abort()

    def stop(self) -> None:
        """Go on: only the two ends know when they are done."""

    def close(self) -> None:
        """Close both ends once their data is sent."""
        for end in (self.client_end, self.target_end):
            if end.open_transport:
                end.open_transport.close()

    def abort(self) -> None:
        """Abort both ends."""
        for end in (self.client_end, self.target_end):
            if end.transport and not end.is_lost:
                end.transport.abort()
