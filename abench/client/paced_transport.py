"""Transports of clients with little bandwidth: each connection is as slow as a line of its own.

Sending is paced by the kernel. Receiving is paced here: what has arrived is read when a line of
that rate would have delivered it, and meanwhile the socket's buffer fills up and stops the server.
"""

import asyncio
import contextlib
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

_CHUNK_S = 0.02  # so much is read at once: timers have a resolution of 1 ms
_MIN_CHUNK = 256  # bytes
# What the kernel takes in before it stops the server; less of a slow line would make it stutter.
_AHEAD_S = 0.5
_MIN_AHEAD, _MAX_AHEAD = 4_096, 131_072  # bytes; beyond it, the kernel's own size is right
_SO_MAX_PACING_RATE = 47  # socket(7); Python has no name for it
_READING = select.EPOLLIN | select.EPOLLRDHUP


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
        self._loop = asyncio.get_running_loop()
        self._bandwidth = bandwidth
        self._chunk = max(_MIN_CHUNK, round(bandwidth * _CHUNK_S))
        self._delivered_at = 0.0  # when the line has delivered what was read last; 0: it is idle
        self._granted = 0  # bytes that may be read now
        self._timer: asyncio.TimerHandle | None = None  # until more may be read
        self._events = READ_EVENTS
        self._receive = self._receive_delivered
        self._set_up(self._socket)

    def _set_up(self, sock: Any) -> None:
        ahead = max(_MIN_AHEAD, round(self._bandwidth * _AHEAD_S))
        if ahead < _MAX_AHEAD:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ahead)
        with contextlib.suppress(OSError):  # a kernel without it (gVisor)
            sock.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, self._bandwidth)

    def close_silently(self) -> bool:
        """Close the socket without telling the client; return whether it was open."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        return super().close_silently()

    def _receive_delivered(self, buffer: memoryview) -> int:
        """Read what the line has delivered; raises BlockingIOError if that is nothing yet."""
        if self._timer:
            raise BlockingIOError
        size = min(len(buffer), self._granted or self._chunk)
        if self._granted:
            self._granted = 0
            return self._socket.recv_into(buffer, size)
        arrived = self._socket.recv_into(buffer, size, socket.MSG_PEEK)
        if not arrived:
            return 0
        self._wait_for(arrived)
        raise BlockingIOError

    def _wait_for(self, size: int) -> None:
        """Wait until the line has delivered `size` more bytes, and look for nothing to read."""
        since = self._delivered_at or self._loop.time()
        self._delivered_at = since + size / self._bandwidth
        self._timer = self._loop.call_at(self._delivered_at, self._read_delivered, size)
        self._apply_events()

    def _read_delivered(self, size: int) -> None:
        self._timer = None
        self._granted = size
        self._apply_events()
        self._read()
        if self._is_open() and not self._timer:
            self._read()  # what has arrived meanwhile follows without a gap, however late this is
        if not self._timer:
            self._delivered_at = 0.0

    def _is_open(self) -> bool:
        return self in self._poller.transports

    def _set_events(self, events: int, handler: Callable[[], object]) -> None:
        self._events = events
        self._poller.handlers[self._descriptor] = handler
        self._apply_events()

    def _apply_events(self) -> None:
        """While nothing may be read, only look for what else happens, and be told of it once.

        What can be read stays so, and its event would come again and again.
        """
        events = self._events
        if self._timer:
            events = events & ~_READING | select.EPOLLET
        self._poller.epoll.modify(self._descriptor, events)


class PacedTlsTransport(PacedTransport, TlsTransport):
    """A connection with TLS, paced with what TLS adds, and in its handshake, too."""
