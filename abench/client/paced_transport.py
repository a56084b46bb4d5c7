"""Transports of clients with little bandwidth: each connection is as slow as a line of its own.

What is sent leaves, and what has arrived is read, when a line of that rate would have carried it.
Meanwhile the socket's receive buffer fills up and stops the server.
"""

import asyncio
import select
import socket
from collections.abc import Callable
from typing import Any

from abench.client.socket_transport import (
    READ_EVENTS,
    SocketPoller,
    SocketTransport,
    TransportClient,
)
from abench.client.tls_transport import TlsTransport

_CHUNK_S = 0.02  # so much is carried at once: timers have a resolution of 1 ms
_MIN_CHUNK = 256  # bytes
# What the kernel takes in before it stops the server; less of a slow line would make it stutter.
_AHEAD_S = 0.5
_MIN_AHEAD, _MAX_AHEAD = 4_096, 131_072  # bytes; beyond it, the kernel's own size is right


class _Line:
    """One direction of a line: `granted` are the bytes that it has carried.

    A timer that is late makes nothing slower, as long as there is more to carry.
    """

    def __init__(self, bandwidth: int, on_granted: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._bandwidth = bandwidth
        self._on_granted = on_granted
        self._free_at = 0.0  # when it has carried all that it was given; 0: it is idle
        self._timer: asyncio.TimerHandle | None = None
        self.granted = 0

    @property
    def is_busy(self) -> bool:
        """Whether it is carrying something, and nothing more can be given to it."""
        return self._timer is not None

    def carry(self, size: int) -> None:
        """Grant `size` bytes once they are carried."""
        self._free_at = (self._free_at or self._loop.time()) + size / self._bandwidth
        self._timer = self._loop.call_at(self._free_at, self._grant, size)

    def _grant(self, size: int) -> None:
        self._timer, self.granted = None, size
        self._on_granted()
        if not self.is_busy:
            self._free_at = 0.0

    def stop(self) -> None:
        """Grant nothing more."""
        if self._timer:
            self._timer.cancel()
            self._timer = None


class PacedTransport(SocketTransport):
    """A plain connection that sends and receives `bandwidth` bytes per second at most."""

    # Without __slots__: so it can be combined with TlsTransport.

    def __init__(
        self,
        poller: SocketPoller,
        client: TransportClient,
        family: int,
        address: Any,
        *,
        bandwidth: int,
        **settings: Any,
    ) -> None:
        super().__init__(poller, client, family, address, **settings)
        self._chunk = max(_MIN_CHUNK, round(bandwidth * _CHUNK_S))
        self._up = _Line(bandwidth, self._send_carried)
        self._down = _Line(bandwidth, self._read_carried)
        self._events = READ_EVENTS
        self._receive = self._receive_paced
        self._send = self._send_paced
        ahead = max(_MIN_AHEAD, round(bandwidth * _AHEAD_S))
        if ahead < _MAX_AHEAD:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ahead)

    def close_silently(self) -> bool:
        """Close the socket without telling the client; return whether it was open."""
        self._up.stop()
        self._down.stop()
        self._send = self._socket.send  # the end of TLS is not waited for
        return super().close_silently()

    def _receive_paced(self, buffer: memoryview) -> int:
        """Read what the line has carried; raises BlockingIOError if that is nothing yet."""
        line = self._down
        if line.is_busy:
            raise BlockingIOError
        if line.granted:
            size, line.granted = min(len(buffer), line.granted), 0
            return self._socket.recv_into(buffer, size)
        size = min(len(buffer), self._chunk)
        arrived = self._socket.recv_into(buffer, size, socket.MSG_PEEK)
        if not arrived:
            return 0
        line.carry(arrived)
        self._apply_events()
        raise BlockingIOError

    def _read_carried(self) -> None:
        self._apply_events()
        self._read()
        if self in self._poller.transports and not self._down.is_busy:
            self._read()  # what has arrived meanwhile follows without a gap

    def _send_paced(self, data: bytes | memoryview) -> int:
        """Send what the line has carried; raises BlockingIOError if that is nothing yet."""
        line = self._up
        if line.is_busy:
            raise BlockingIOError
        if line.granted:
            sent = self._socket.send(data[: line.granted])
            line.granted -= sent
            return sent
        line.carry(min(len(data), self._chunk))
        self._apply_events()
        raise BlockingIOError

    def _send_carried(self) -> None:
        self._apply_events()
        self._on_writable()

    def _set_events(self, events: int, handler: Callable[[], object]) -> None:
        self._events = events
        self._poller.handlers[self._descriptor] = handler
        self._apply_events()

    def _apply_events(self) -> None:
        """Look only for what is of use now: any other event would come again and again.

        An end or an error is always reported: while nothing is read, once.
        """
        events = self._events
        if self._up.is_busy:
            events &= ~select.EPOLLOUT
        if self._down.is_busy:
            events = events & ~READ_EVENTS | select.EPOLLET
        self._poller.epoll.modify(self._descriptor, events)


class PacedTlsTransport(PacedTransport, TlsTransport):
    """A connection with TLS, paced with what TLS adds, and in its handshake, too."""
