"""Plain connections on non-blocking sockets and an epoll of our own, which the event loop watches.

They are transports for an asyncio protocol that writes, closes and aborts, and nothing more: no
task, future or handle is made for one. Where each request has a connection of its own, those would
be most of its cost.
"""

import asyncio
import errno
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

_clock = time.perf_counter_ns

READ_EVENTS = select.EPOLLIN | select.EPOLLRDHUP
_WRITE_EVENTS = READ_EVENTS | select.EPOLLOUT
_CONNECTED = frozenset({0, errno.EISCONN})
_IN_PROGRESS = frozenset({errno.EINPROGRESS, errno.EALREADY})


class OpeningTimes(NamedTuple):
    """When a connection was open, and how long TCP and, with TLS, its handshake took: in us."""

    opened_at_us: int
    connect_us: int
    handshake_us: int | None = None


class TransportClient(Protocol):
    """The user of a transport, which gets its events under the names that asyncio uses."""

    def connection_made(self, transport: "SocketTransport") -> None:
        """Use a transport that is connected."""

    def opened(self, times: OpeningTimes, tls: ssl.SSLObject | None = None) -> None:
        """Note how long a connection took to open, and its TLS; connection_made comes next."""

    def connect_failed(
        self, error_number: int = 0, reason: str = "", message: str = "", kind: str = "connect"
    ) -> None:
        """Note that no connection could be opened; 0 is a timeout, else it is an errno.

        A `reason` tells more than the errno: it is that of a proxy or, with the kind `tls`, of
        TLS; and `message` has the whole text.
        """

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer to read into: always the same one."""

    def buffer_updated(self, nbytes: int) -> None:
        """Handle `nbytes` that were read into the buffer."""

    def eof_received(self, *, orderly: bool = True) -> None:
        """Handle the end of the server's data, after which the transport is closed.

        The end is not orderly if TLS was not closed before it (RFC 9112 section 9.8).
        """

    def connection_lost(self, exc: Exception | None) -> None:
        """Handle the end of a connection, for any cause; called once, never re-entrantly."""


class SocketPoller:
    """The transports of one event loop. `handlers` maps descriptors to event handlers."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.epoll = select.epoll()
        self.handlers: dict[int, Callable[[], object]] = {}
        self.transports: set[SocketTransport] = set()
        self._lost_clients: list[tuple[TransportClient, OSError | None]] = []
        self._is_polling = False
        loop.add_reader(self.epoll.fileno(), self._poll)

    def close(self) -> None:
        """Close what is still open without telling clients; may be called more than once."""
        if self.epoll.closed:
            return
        self._loop.remove_reader(self.epoll.fileno())
        for transport in list(self.transports):
            transport.close_silently()
        self.epoll.close()

    def notify_lost(self, client: TransportClient, error: OSError | None) -> None:
        """Tell a client that its connection is lost, and why, once no handler is running."""
        if not (self._lost_clients or self._is_polling):
            self._loop.call_soon(self._notify_lost_clients)
        self._lost_clients.append((client, error))

    def _poll(self) -> None:
        self._is_polling = True
        handlers = self.handlers
        try:
            for descriptor, _ in self.epoll.poll(0):
                # A handler before this one may have closed it, and its number may be reused:
                # no handler trusts that its event is real.
                if handler := handlers.get(descriptor):
                    handler()
        finally:
            self._is_polling = False
            self._notify_lost_clients()

    def _notify_lost_clients(self) -> None:
        lost, self._lost_clients = self._lost_clients, []
        for client, error in lost:
            client.connection_lost(error)


class SocketTransport:
    """One connection, or the attempt at one. Its state is its current event handler."""

    __slots__ = (
        "_address",
        "_began_us",
        "_buffer",
        "_client",
        "_descriptor",
        "_is_connected",
        "_poller",
        "_receive",
        "_send",
        "_socket",
        "_unsent",
        "_updated",
    )

    def __init__(
        self, poller: SocketPoller, client: TransportClient, family: int, address: Any
    ) -> None:
        self._poller = poller
        self._client = client
        self._address = address
        self._is_connected = False
        self._began_us = 0  # when it started to connect
        self._unsent: deque[memoryview] | None = None  # waits until the socket is writable
        # The C type, created non-blocking: its Python subclass and setblocking take 2 us more.
        self._socket = socket.SocketType(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._descriptor = self._socket.fileno()
        self._send: Callable[..., int] = self._socket.send
        self._receive: Callable[..., int] = self._socket.recv_into
        self._buffer = client.get_buffer(-1)
        self._updated = client.buffer_updated

    def connect(self) -> None:
        """Start to connect; the client learns the result, perhaps at once."""
        self._began_us = _clock() // 1000
        error_number = self._socket.connect_ex(self._address)
        if error_number in _IN_PROGRESS:  # loopback is done by now, without a wake-up
            error_number = self._socket.connect_ex(self._address)
        if error_number not in _CONNECTED and error_number not in _IN_PROGRESS:
            self._socket.close()
            self._client.connect_failed(error_number)
            return
        poller, is_connected = self._poller, error_number in _CONNECTED
        poller.transports.add(self)
        poller.handlers[self._descriptor] = self._read if is_connected else self._check_connect
        poller.epoll.register(self._descriptor, READ_EVENTS if is_connected else _WRITE_EVENTS)
        if is_connected:
            self._connected()

    def cancel_connect(self, error_number: int = 0) -> None:
        """Cancel an attempt to connect, with the errno that made it fail or 0."""
        if not self._is_connected and self.close_silently():
            self._client.connect_failed(error_number)

    def write(self, data: bytes) -> None:
        """Send bytes, or buffer them until they can be sent."""
        if self._unsent:
            self._unsent.append(memoryview(data))
            return
        send = self._send
        try:
            sent = send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._stop_sending()
            return
        if sent < len(data):
            self._unsent = deque([memoryview(data)[sent:]])  # a copy each time would be quadratic
            self._set_events(_WRITE_EVENTS, self._on_writable)

    def close(self, error: OSError | None = None) -> None:
        """Close the connection; its client is told once no handler is running."""
        if self.close_silently() and self._is_connected:
            self._poller.notify_lost(self._client, error)

    abort = close

    def close_silently(self) -> bool:
        """Close the socket without telling the client; return whether it was open."""
        if self not in self._poller.transports:
            return False
        self._poller.transports.remove(self)
        del self._poller.handlers[self._descriptor]
        self._socket.close()  # the kernel removes it from the epoll
        return True

    def _set_events(self, events: int, handler: Callable[[], object]) -> None:
        self._poller.epoll.modify(self._descriptor, events)
        self._poller.handlers[self._descriptor] = handler

    def _read(self) -> None:
        receive, updated = self._receive, self._updated
        try:
            nbytes = receive(self._buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self.close(error)
            return
        if nbytes:
            updated(nbytes)
        else:
            self._client.eof_received()
            self.close()

    def _on_writable(self) -> None:
        """Send what is buffered, and read: which of the two is possible is not checked."""
        self._flush()
        if not self._unsent:
            self._set_events(READ_EVENTS, self._read)
        self._read()

    def _flush(self) -> None:
        unsent = self._unsent
        try:
            while unsent:
                sent = self._send(unsent[0])
                if sent < len(unsent[0]):
                    unsent[0] = unsent[0][sent:]
                else:
                    unsent.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._stop_sending()

    def _stop_sending(self) -> None:
        """Send no more, and read up to the end, at which the connection is closed.

        A server that wants no more of a request may have sent a response before it closed the
        connection (RFC 9112 section 9.5), and that is still to be read.
        """
        self._unsent = None
        if self in self._poller.transports:
            self._set_events(READ_EVENTS, self._read)

    def _check_connect(self) -> None:
        """Check the result of an attempt to connect: connect(2) tells it at each call."""
        error_number = self._socket.connect_ex(self._address)
        if error_number in _CONNECTED:
            self._set_events(READ_EVENTS, self._read)
            self._connected()
        elif error_number not in _IN_PROGRESS:
            self.cancel_connect(error_number)

    def _connected(self) -> None:
        """Tell the client that TCP is open, and with it the connection."""
        now = _clock() // 1000
        self._client.opened(OpeningTimes(now, now - self._began_us))
        self._start()

    def _start(self) -> None:
        """Have the client use the connection, which is open."""
        self._is_connected = True
        if self._socket.family != socket.AF_UNIX:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client.connection_made(self)
