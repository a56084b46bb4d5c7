"""A tunnel: two connections joined, each as fast as the other one reads (RFC 9110 9.3.6)."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import cast

CONNECT_TIMEOUT = 10
"""Seconds that the target of a tunnel has to accept the connection."""


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
        if self.peer.has_ended:
            self._tunnel.close()
        elif peer := self.peer.open_transport:
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
    """Two joined connections. on_closed is called when the second of them is lost."""

    __slots__ = (
        "client_end",
        "idle_ticks",
        "is_open",
        "on_closed",
        "target_end",
    )

    def __init__(self, on_closed: Callable[[Exception | None], None]) -> None:
        self.client_end, self.target_end = TunnelEnd(self), TunnelEnd(self)
        self.client_end.peer, self.target_end.peer = self.target_end, self.client_end
        self.is_open = False
        self.on_closed = on_closed
        self.idle_ticks = 0  # ticks since the last byte, in either direction

    def open(
        self, client_transport: asyncio.Transport, buffered: bytes, *, has_ended: bool
    ) -> None:
        """Join the client's connection with the target's, which is connected.

        buffered: bytes that the client sent before. has_ended: whether it will send no more.
        """
        self.client_end.transport = client_transport
        client_transport.set_protocol(self.client_end)
        if buffered:
            self.client_end.data_received(buffered)
        self.client_end.has_ended = has_ended
        self.is_open = True
        self.client_end.flush()
        self.target_end.flush()

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
