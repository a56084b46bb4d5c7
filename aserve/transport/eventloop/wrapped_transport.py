"""The part of a transport on top of another one that the other one does."""

import asyncio
from typing import cast


class WrappedTransport(asyncio.Transport):
    """A transport that changes what goes through the one of a socket, and leaves the rest to it."""

    __slots__ = ("_protocol", "_socket")

    _socket: asyncio.Transport
    """That of the socket."""
    _protocol: asyncio.Protocol
    """What uses this transport."""

    def is_closing(self) -> bool:
        """Tell whether the connection is closed, or will be when all is sent."""
        return self._socket.is_closing()

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Have another protocol serve the client."""
        self._protocol = cast("asyncio.Protocol", protocol)

    def is_reading(self) -> bool:
        """Tell whether the client is read from."""
        return self._socket.is_reading()

    def pause_reading(self) -> None:
        """Read no more from the client for now."""
        self._socket.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._socket.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when the protocol is told to pause, in bytes of ciphertext."""
        self._socket.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return these limits, the lower one first."""
        return self._socket.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes of ciphertext wait for the client to read."""
        return self._socket.get_write_buffer_size()
