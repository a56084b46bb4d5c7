"""Plain connections by non-blocking sockets and an epoll of our own, which the loop watches.

They are transports as far as a protocol of asyncio's is concerned that writes, closes and aborts,
and nothing more: no task, future or handle is made for one. Where each request has a connection
of its own, that is most of what it costs.
"""

import asyncio
import errno
import select
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

_TO_READ = select.EPOLLIN | select.EPOLLRDHUP
_TO_WRITE = _TO_READ | select.EPOLLOUT
_CONNECTED = frozenset({0, errno.EISCONN})
_IN_PROGRESS = frozenset({errno.EINPROGRESS, errno.EALREADY})


class TransportClient(Protocol):
    """Whose line it is: told of what happens on it, in asyncio's words."""

    def connection_made(self, transport: "SocketTransport") -> None:
        """Take a line that stands."""

    def connect_failed(self, number: int = 0, reason: str = "", said: str = "") -> None:
        """Note that a line could not be opened, and the error's number; 0 is not in time.

        A `reason` says more than the number: it is TLS's or a proxy's, and `said` all of it.
        """

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where octets are to be put: always the same place."""

    def buffer_updated(self, nbytes: int) -> None:
        """Take so many octets that are there."""

    def eof_received(self, *, orderly: bool = True) -> None:
        """Take the end of them; the line is closed then.

        Not orderly is the end of a connection whose TLS was not ended (RFC 9112 section 9.8).
        """

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of a line that stood, however it came, once and never from within a call."""


class SocketPoller:
    """The lines of one event loop. `handlers` has what to do at the next event on each."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.epoll = select.epoll()
        self.handlers: dict[int, Callable[[], object]] = {}
        self.transports: set[SocketTransport] = set()
        self._lost_clients: list[tuple[TransportClient, OSError | None]] = []
        self._is_polling = False
        loop.add_reader(self.epoll.fileno(), self._poll)

    def close(self) -> None:
        """Close what is still open without a word; more than once is harmless."""
        if self.epoll.closed:
            return
        self._loop.remove_reader(self.epoll.fileno())
        for line in list(self.transports):
            line.close_silently()
        self.epoll.close()

    def notify_lost(self, client: TransportClient, error: OSError | None) -> None:
        """Tell a client that its line is gone, and why, when nothing else is being done."""
        if not (self._lost_clients or self._is_polling):
            self._loop.call_soon(self._notify_lost_clients)
        self._lost_clients.append((client, error))

    def _poll(self) -> None:
        self._is_polling = True
        handlers = self.handlers
        try:
            for descriptor, _ in self.epoll.poll(0):
                # It may be closed by what was done for another, and its number another's by now:
                # no handler takes an event at its word.
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
    """One connection, or the attempt at one. Its state is its handler: what it waits to do."""

    __slots__ = (
        "_address",
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
        self, lines: SocketPoller, client: TransportClient, family: int, where: Any
    ) -> None:
        self._poller = lines
        self._client = client
        self._address = where
        self._is_connected = False
        self._unsent: deque[memoryview] | None = None  # what waits until it can be sent
        # The C type, born non-blocking: its Python subclass and setblocking take 2 us more a line.
        self._socket = socket.SocketType(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._descriptor = self._socket.fileno()
        self._send = self._socket.send
        self._receive = self._socket.recv_into
        self._buffer = client.get_buffer(-1)
        self._updated = client.buffer_updated

    def connect(self) -> None:
        """Begin to connect; the client learns what came of it, perhaps at once."""
        number = self._socket.connect_ex(self._address)
        if number in _IN_PROGRESS:  # a second look costs less than being woken: loopback is done
            number = self._socket.connect_ex(self._address)
        if number not in _CONNECTED and number not in _IN_PROGRESS:
            self._socket.close()
            self._client.connect_failed(number)
            return
        lines, stands = self._poller, number in _CONNECTED
        lines.transports.add(self)
        lines.handlers[self._descriptor] = self._read if stands else self._check_connect
        lines.epoll.register(self._descriptor, _TO_READ if stands else _TO_WRITE)
        if stands:
            self._connected()

    def cancel_connect(self, number: int = 0) -> None:
        """End an attempt to connect."""
        if not self._is_connected and self.close_silently():
            self._client.connect_failed(number)

    def write(self, octets: bytes) -> None:
        """Send octets, or keep them until they can be sent."""
        if self._unsent:
            self._unsent.append(memoryview(octets))
            return
        send = self._send
        try:
            sent = send(octets)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._stop_sending()
            return
        if sent < len(octets):
            self._unsent = deque([memoryview(octets)[sent:]])  # a copy each time is quadratic
            self._set_events(_TO_WRITE, self._on_writable)

    def close(self, error: OSError | None = None) -> None:
        """End the line; its client is told when nothing else is being done."""
        if self.close_silently() and self._is_connected:
            self._poller.notify_lost(self._client, error)

    abort = close

    def close_silently(self) -> bool:
        """Close the socket without a word; return whether it was open."""
        if self not in self._poller.transports:
            return False
        self._poller.transports.remove(self)
        del self._poller.handlers[self._descriptor]
        self._socket.close()  # the kernel takes it out of the epoll
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
        """Send what is left, and read: which of the two can be done is not asked."""
        self._flush()
        if not self._unsent:
            self._set_events(_TO_READ, self._read)
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
        """Send no more, and read up to the end, by which the line is closed.

        A server that wants no more of a request may have said so before it ended the connection
        (RFC 9112 section 9.5), and that is still to be read.
        """
        self._unsent = None
        if self in self._poller.transports:
            self._set_events(_TO_READ, self._read)

    def _check_connect(self) -> None:
        """Find out what became of an attempt to connect: connect(2) says, as often as asked."""
        number = self._socket.connect_ex(self._address)
        if number in _CONNECTED:
            self._set_events(_TO_READ, self._read)
            self._connected()
        elif number not in _IN_PROGRESS:
            self.cancel_connect(number)

    def _connected(self) -> None:
        self._is_connected = True
        if self._socket.family != socket.AF_UNIX:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client.connection_made(self)
