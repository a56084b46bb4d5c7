"""A tunnel: two connections joined, each as fast as the other one reads (RFC 9110 9.3.6)."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import cast

DIAL_TIME = 10
"""Seconds that the far side of a tunnel gets to accept the connection."""


class TunnelEnd(asyncio.Protocol):
    """One of a tunnel's two ends: what arrives here leaves at the other."""

    __slots__ = ("_early", "_tunnel", "ended", "lost", "other", "transport")

    def __init__(self, tunnel: "Tunnel") -> None:
        self._tunnel = tunnel
        self._early: list[bytes] = []  # what arrived before the tunnel was open
        self.ended = False  # nothing more arrives here
        self.lost = False
        self.other: TunnelEnd
        self.transport: asyncio.Transport | None = None

    @property
    def usable(self) -> asyncio.Transport | None:
        """The transport, while it can be used."""
        return self.transport if self.transport and not self.transport.is_closing() else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the connection."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Pass octets on."""
        self._tunnel.idle = 0
        if not self._tunnel.is_open:
            self._early.append(data)
        elif there := self.other.usable:
            there.write(data)

    def flush(self) -> None:
        """Pass on what came before the tunnel was open, its end included."""
        for data in self._early:
            self.data_received(data)
        self._early.clear()
        if self.lost:
            self.connection_lost(None)
        elif self.ended:
            self.eof_received()

    def pause_writing(self) -> None:
        """Hold the other side back, which sends faster than this one reads."""
        if there := self.other.usable:
            there.pause_reading()

    def resume_writing(self) -> None:
        """Let the other side go on."""
        if there := self.other.usable:
            there.resume_reading()

    def eof_received(self) -> bool:
        """Pass the end of one direction on; the tunnel ends with the second."""
        self.ended = True
        if not self._tunnel.is_open:
            return True
        if self.other.ended:
            self._tunnel.close()
        elif there := self.other.usable:
            with suppress(OSError):  # it has been reset: there is nobody to tell
                there.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other side too: at once after an error, else when it has read what is its."""
        self.lost = True
        if not self._tunnel.is_open:
            return
        if there := self.other.usable:
            (there.abort if exc else there.close)()
        if self.other.lost:
            self._tunnel.is_over(exc)


class Tunnel:
    """Both ends. is_over: is told when the second of them is lost."""

    __slots__ = ("far", "idle", "is_open", "is_over", "near")

    def __init__(self, is_over: Callable[[Exception | None], None]) -> None:
        self.near, self.far = TunnelEnd(self), TunnelEnd(self)
        self.near.other, self.far.other = self.far, self.near
        self.is_open = False
        self.is_over = is_over
        self.idle = 0  # ticks since an octet passed, either way

    def open(self, near: asyncio.Transport, early: bytes, *, ended: bool) -> None:
        """Join the client's connection with the far side's, which stands.

        early: what came from the client before; ended: whether it will send no more.
        """
        self.near.transport = near
        near.set_protocol(self.near)
        if early:
            self.near.data_received(early)
        self.near.ended = ended
        self.is_open = True
        self.near.flush()
        self.far.flush()

    def close(self) -> None:
        """End both sides when they have read what is theirs."""
        for end in (self.near, self.far):
            if end.usable:
                end.usable.close()

    def abort(self) -> None:
        """Cut off both sides."""
        for end in (self.near, self.far):
            if end.transport and not end.lost:
                end.transport.abort()
