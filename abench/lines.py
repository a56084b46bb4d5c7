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
_STANDS = frozenset({0, errno.EISCONN})
_UNDER_WAY = frozenset({errno.EINPROGRESS, errno.EALREADY})


class Client(Protocol):
    """Whose line it is: told of what happens on it, in asyncio's words."""

    def connection_made(self, transport: "Line") -> None:
        """Take a line that stands."""

    def missed(self, number: int = 0, reason: str = "", said: str = "") -> None:
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


class Lines:
    """The lines of one event loop. `handlers` has what to do at the next event on each."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.epoll = select.epoll()
        self.handlers: dict[int, Callable[[], object]] = {}
        self.open: set[Line] = set()
        self._lost: list[tuple[Client, OSError | None]] = []
        self._in_turn = False
        loop.add_reader(self.epoll.fileno(), self._turn)

    def close(self) -> None:
        """Close what is still open without a word; more than once is harmless."""
        if self.epoll.closed:
            return
        self._loop.remove_reader(self.epoll.fileno())
        for line in list(self.open):
            line.hang_up()
        self.epoll.close()

    def lose(self, client: Client, error: OSError | None) -> None:
        """Tell a client that its line is gone, and why, when nothing else is being done."""
        if not (self._lost or self._in_turn):
            self._loop.call_soon(self._tell_the_lost)
        self._lost.append((client, error))

    def _turn(self) -> None:
        self._in_turn = True
        handlers = self.handlers
        try:
            for descriptor, _ in self.epoll.poll(0):
                # It may be closed by what was done for another, and its number another's by now:
                # no handler takes an event at its word.
                if handler := handlers.get(descriptor):
                    handler()
        finally:
            self._in_turn = False
            self._tell_the_lost()

    def _tell_the_lost(self) -> None:
        lost, self._lost = self._lost, []
        for client, error in lost:
            client.connection_lost(error)


class Line:
    """One connection, or the attempt at one. Its state is its handler: what it waits to do."""

    __slots__ = (
        "_buffer",
        "_client",
        "_descriptor",
        "_lines",
        "_receive",
        "_send",
        "_socket",
        "_stands",
        "_unsent",
        "_updated",
        "_where",
    )

    def __init__(self, lines: Lines, client: Client, family: int, where: Any) -> None:
        self._lines = lines
        self._client = client
        self._where = where
        self._stands = False
        self._unsent: deque[memoryview] | None = None  # what waits until it can be sent
        # The C type, born non-blocking: its Python subclass and setblocking take 2 us more a line.
        self._socket = socket.SocketType(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._descriptor = self._socket.fileno()
        self._send = self._socket.send
        self._receive = self._socket.recv_into
        self._buffer = client.get_buffer(-1)
        self._updated = client.buffer_updated

    def open(self) -> None:
        """Begin to connect; the client learns what came of it, perhaps at once."""
        number = self._socket.connect_ex(self._where)
        if number in _UNDER_WAY:  # a second look costs less than being woken: loopback is done
            number = self._socket.connect_ex(self._where)
        if number not in _STANDS and number not in _UNDER_WAY:
            self._socket.close()
            self._client.missed(number)
            return
        lines, stands = self._lines, number in _STANDS
        lines.open.add(self)
        lines.handlers[self._descriptor] = self._read if stands else self._look
        lines.epoll.register(self._descriptor, _TO_READ if stands else _TO_WRITE)
        if stands:
            self._connected()

    def give_up(self, number: int = 0) -> None:
        """End an attempt to connect."""
        if not self._stands and self.hang_up():
            self._client.missed(number)

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
            self._wait(_TO_WRITE, self._go_on)

    def close(self, error: OSError | None = None) -> None:
        """End the line; its client is told when nothing else is being done."""
        if self.hang_up() and self._stands:
            self._lines.lose(self._client, error)

    abort = close

    def hang_up(self) -> bool:
        """Close the socket without a word; return whether it was open."""
        if self not in self._lines.open:
            return False
        self._lines.open.remove(self)
        del self._lines.handlers[self._descriptor]
        self._socket.close()  # the kernel takes it out of the epoll
        return True

    def _wait(self, events: int, handler: Callable[[], object]) -> None:
        self._lines.epoll.modify(self._descriptor, events)
        self._lines.handlers[self._descriptor] = handler

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

    def _go_on(self) -> None:
        """Send what is left, and read: which of the two can be done is not asked."""
        self._flush()
        if not self._unsent:
            self._wait(_TO_READ, self._read)
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
        if self in self._lines.open:
            self._wait(_TO_READ, self._read)

    def _look(self) -> None:
        """Find out what became of an attempt to connect: connect(2) says, as often as asked."""
        number = self._socket.connect_ex(self._where)
        if number in _STANDS:
            self._wait(_TO_READ, self._read)
            self._connected()
        elif number not in _UNDER_WAY:
            self.give_up(number)

    def _connected(self) -> None:
        self._stands = True
        if self._socket.family != socket.AF_UNIX:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client.connection_made(self)
