"""A tunnel: two connections joined, each as fast as the other one reads (RFC 9110 9.3.6)."""

import asyncio
from collections.abc import Callable
from typing import Self, cast

DIAL_TIME = 10
"""Seconds that the far side of a tunnel gets to accept the connection."""

Lost = Callable[[Exception | None], None]


class TunnelEnd(asyncio.Protocol):
    """One of a tunnel's two ends: what arrives here leaves there. lost: is told of its end."""

    __slots__ = ("_lost", "_other", "ended", "idle", "transport")

    def __init__(self, lost: Lost | None = None) -> None:
        self._lost = lost
        self.idle = 0  # ticks
        self.ended = False  # nothing more arrives here
        self.transport: asyncio.Transport
        self._other: Self

    def take(self, transport: asyncio.Transport) -> None:
        """Become the protocol of a connection that had another one before."""
        self.transport = transport
        transport.set_protocol(self)

    def join(self, other: Self, octets: bytes) -> None:
        """Make other the far end; octets came here before there was a tunnel."""
        self._other, other._other = other, self
        if octets:
            self.data_received(octets)

    def is_over(self, granted: int) -> bool:
        """Take one tick; tell whether nothing has passed for so many, either way."""
        self.idle += 1
        return min(self.idle, self._other.idle) >= granted

    @property
    def _far(self) -> asyncio.Transport | None:
        """The other side's transport, while it can be used."""
        far = self._other.transport
        return None if far.is_closing() else far

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the connection to the far side."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Pass octets on."""
        self.idle = 0
        if far := self._far:
            far.write(data)

    def pause_writing(self) -> None:
        """Hold the other side back, which sends faster than this one reads."""
        if far := self._far:
            far.pause_reading()

    def resume_writing(self) -> None:
        """Let the other side go on."""
        if far := self._far:
            far.resume_reading()

    def eof_received(self) -> bool:
        """Pass the end of one direction on; the tunnel ends with the second."""
        self.ended = True
        if self._other.ended:
            self.transport.close()
        elif far := self._far:
            far.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """End both sides together."""
        if far := self._far:
            far.close()
        if self._lost:
            self._lost(exc)
