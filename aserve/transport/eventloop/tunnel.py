"""A tunnel: two connections joined, each as fast as the other one reads (RFC 9110 9.3.6)."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import cast

CONNECT_TIMEOUT = 10
"""Seconds that the far side of a tunnel gets to accept the connection."""


class TunnelEnd(asyncio.Protocol):
    """One of a tunnel's two ends: what arrives here leaves at the other."""

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
        self._buffered: list[bytes] = []  # what arrived before the tunnel was open
        self.has_ended = False  # nothing more arrives here
        self.is_lost = False
        self.peer: TunnelEnd
        self.transport: asyncio.Transport | None = None

    @property
    def open_transport(self) -> asyncio.Transport | None:
        """The transport, while it can be used."""
        return self.transport if self.transport and not self.transport.is_closing() else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the connection."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Pass octets on."""
        self._tunnel.idle_ticks = 0
        if not self._tunnel.is_open:
            self._buffered.append(data)
        elif there := self.peer.open_transport:
            there.write(data)

    def flush(self) -> None:
        """Pass on what came before the tunnel was open, its end included."""
        for data in self._buffered:
            self.data_received(data)
        self._buffered.clear()
        if self.is_lost:
            self.connection_lost(None)
        elif self.has_ended:
            self.eof_received()

    def pause_writing(self) -> None:
        """Hold the other side back, which sends faster than this one reads."""
        if there := self.peer.open_transport:
            there.pause_reading()

    def resume_writing(self) -> None:
        """Let the other side go on."""
        if there := self.peer.open_transport:
            there.resume_reading()

    def eof_received(self) -> bool:
        """Pass the end of one direction on; the tunnel ends with the second."""
        self.has_ended = True
        if not self._tunnel.is_open:
            return True
        if self.peer.has_ended:
            self._tunnel.close()
        elif there := self.peer.open_transport:
            with suppress(OSError):  # it has been reset: there is nobody to tell
                there.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other side too: at once after an error, else when it has read what is its."""
        self.is_lost = True
        if not self._tunnel.is_open:
            return
        if there := self.peer.open_transport:
            (there.abort if exc else there.close)()
        if self.peer.is_lost:
            self._tunnel.on_closed(exc)


class Tunnel:
    """Both ends. is_over: is told when the second of them is lost."""

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
        self.idle_ticks = 0  # ticks since an octet passed, either way

    def open(
        self, client_transport: asyncio.Transport, buffered: bytes, *, has_ended: bool
    ) -> None:
        """Join the client's connection with the far side's, which stands.

        early: what came from the client before; ended: whether it will send no more.
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
        """End both sides when they have read what is theirs."""
        for end in (self.client_end, self.target_end):
            if end.open_transport:
                end.open_transport.close()

    def abort(self) -> None:
        """Cut off both sides."""
        for end in (self.client_end, self.target_end):
            if end.transport and not end.is_lost:
                end.transport.abort()
