"""Proactor: the kernel reads and writes, files included, and tells what is complete.

Nothing here says EAGAIN. A connection asks for the next octets of its client, of a file, or for
some to be sent, and goes on in what is called when that has happened. Opening a file is the one
thing that is waited for: Site is synchronous.
"""

import errno
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial

from aserve.handlers.static_site import StaticSite
from aserve.http.messages import FileSlice
from aserve.http1.limits import Limits
from aserve.linux.io_uring import IoUring
from aserve.transport.connection_limiter import process_limits
from aserve.transport.eventloop.connection_host import ReportRemaining, ResponseObserver
from aserve.transport.internal_errors import isolate_errors, log_internal_error
from aserve.transport.socket_connection import ConnectionContext, SocketConnection

_BLOCK_SIZE = 131_072  # octets of a reply in memory at once


def unavailable_reason() -> str:
    """Return what stands against this model here, "" for nothing."""
    try:
        IoUring(size=1).close()
    except OSError as error:
        why = error.strerror or str(error)
        return f"this system does not permit io_uring, as of Linux 6.1 ({why})"
    return ""


class ProactorServer:
    """One thread and one ring."""

    def __init__(
        self, site: StaticSite, limits: Limits, observe: ResponseObserver | None = None
    ) -> None:
        self._context = ConnectionContext(
            site.without_inlined_bodies(), limits, observe, process_limits(limits)
        )
        self._ring = IoUring()
        self._accepting: set[socket.socket] = set()  # listeners that the kernel accepts from
        self._stopping = False
        self._deadline = float("inf")

    def run(
        self,
        listeners: Sequence[socket.socket],
        control_fds: tuple[int, ...],
        grace: float,
        report_remaining: ReportRemaining | None = None,
    ) -> None:
        """Serve until an octet, or the end, arrives at one of orders; a second one ends at once.

        grace: seconds that replies under way get after the first; tell: is told of them.
        """
        self._listeners, self._grace, self._report_remaining = listeners, grace, report_remaining
        for listener in listeners:
            listener.setblocking(True)
        for order in control_fds:
            self._read_control(order)
        ticked = time.monotonic()
        self._accept()
        while not self._is_finished():
            self._ring.wait(max(0.0, min(1.0, self._deadline - time.monotonic())))
            now = time.monotonic()
            if now - ticked >= 1:
                ticked = now
                self._tick()
        for talk in self._connections():
            talk.abort()
        self._ring.close()
        for listener in listeners:
            listener.close()

    def _accept(self) -> None:
        """Have the kernel accept from each listener from which it does not yet."""
        for listener in self._listeners:
            if listener not in self._accepting:
                self._accepting.add(listener)
                self._ring.accept(listener.fileno(), partial(self._on_accept, listener))

    def _on_accept(self, kind: socket.socket, result: int) -> None:
        if result < 0:  # we stop, or descriptors have run out: the next tick tries again
            self._accepting.discard(kind)
            if self._stopping:
                kind.close()
            return
        connection = socket.socket(kind.family, kind.type, kind.proto, result)
        client = _client_address(connection)
        try:
            talk = UringConnection(connection, client, self._context, self._ring)
        except Exception as error:  # noqa: BLE001 - it ends this connection alone
            log_internal_error(error, client)
            connection.close()
        else:
            talk.pump()

    def _read_control(self, order: int) -> None:
        octet = bytearray(1)
        self._ring.read(order, 0, octet, partial(self._handle_control, order))

    def _handle_control(self, order: int, result: int) -> None:
        if result > 0:  # else whoever gave orders is gone: that is one, too, and the last
            self._read_control(order)
        if self._stopping:
            self._deadline = 0.0
            return
        self._stopping = True
        self._deadline = time.monotonic() + self._grace
        self._context.limiter.close()
        for listener in self._accepting:
            self._ring.cancel(listener.fileno())
        for talk in self._connections():
            talk.close_after_response()
        if self._report_remaining:
            self._report_remaining(
                self._context.active_responses, len(self._context.limiter.connections)
            )

    def _tick(self) -> None:
        for talk in self._connections():
            talk.tick()
            talk.pump()
        if not self._stopping:
            self._accept()

    def _connections(self) -> Iterator["UringConnection"]:
        """Yield the connections that are open now, whatever becomes of them meanwhile."""
        return (
            talk
            for talk in list(self._context.limiter.connections)
            if isinstance(talk, UringConnection)
        )

    def _is_finished(self) -> bool:
        """Tell whether all is over, and the kernel has let go of the listeners."""
        if not self._stopping:
            return False
        over = not (self._context.limiter.connections or self._accepting)
        return over or time.monotonic() >= self._deadline


class UringConnection(SocketConnection):
    """A conversation that asks for one thing of each kind at a time, and is told."""

    is_blocking = True  # the kernel waits for the socket, and nobody else does

    def __init__(
        self, connection: socket.socket, client: str, house: ConnectionContext, ring: IoUring
    ) -> None:
        self._ring = ring
        self._is_receiving = self._is_sending = self._is_reading_file = self._is_turn_scheduled = (
            False
        )
        super().__init__(connection, client, house)

    @property
    def wants_write(self) -> bool:
        """Whether octets wait for the client; while they wait for a disk, it is not its fault."""
        return self._is_sending

    @property
    def _has_pending_io(self) -> bool:
        return self._is_sending or self._is_reading_file

    @isolate_errors
    def pump(self) -> None:
        """Ask for whatever can be done now and has not been asked for."""
        self._send_some()
        if self.wants_turn:
            if not self._is_turn_scheduled:
                self._ring.call_soon(self._run_turn)
                self._is_turn_scheduled = True
        elif self.wants_read and not self._is_receiving:
            self._ring.receive(self.socket.fileno(), self._on_received)
            self._is_receiving = True

    @isolate_errors
    def _run_turn(self, _result: int) -> None:
        self._is_turn_scheduled = False
        if self.wants_turn and not self._is_aborted:
            self._process_requests()
            self.pump()

    def _on_received(self, result: int, octets: bytes) -> None:
        self._is_receiving = False
        if self._is_aborted:
            self._release_fd()
        else:
            self._handle_received(result, octets)

    @isolate_errors
    def _handle_received(self, result: int, octets: bytes) -> None:
        if result >= 0:
            self._feed(octets)
        elif result != -errno.ENOBUFS:  # else buffers were short for a moment
            self.abort()
        self.pump()

    def _send_some(self) -> bool:
        """Have a block sent, once its octets are in memory; nothing leaves at once."""
        if self._outgoing and not (self._is_sending or self._is_reading_file):
            block = list(self._next_block())
            behind = self._outgoing[len(block)] if len(block) < len(self._outgoing) else b""
            if isinstance(behind, FileSlice) and sum(map(len, block)) < _BLOCK_SIZE:
                self._read_file(len(block), behind)
            else:
                self._ring.send(self.socket.fileno(), b"".join(block), self._on_sent)
                self._is_sending = True
        return False

    def _next_block(self) -> Iterator[bytes]:
        """Yield what is in memory of what leaves next, a block or a little more."""
        length = 0
        for piece in self._outgoing:
            if length >= _BLOCK_SIZE or isinstance(piece, FileSlice):
                return
            length += len(piece)
            yield piece

    def _read_file(self, index: int, piece: FileSlice) -> None:
        buffer = bytearray(min(len(piece), _BLOCK_SIZE))
        done = partial(self._on_file_read, index, piece, buffer)
        apart = not piece.source.is_local
        self._ring.read(piece.source.fileno(), piece.start, buffer, done, force_async=apart)
        self._is_reading_file = True

    @isolate_errors
    def _on_file_read(self, index: int, piece: FileSlice, buffer: bytearray, result: int) -> None:
        self._is_reading_file = False
        if self._is_aborted:
            return
        if result <= 0:
            short = EOFError(f"the file ended {len(piece)} octets early")
            self._truncate(_error(result) if result else short)
            return
        self._outgoing[index] = bytes(memoryview(buffer)[:result])
        if result < len(piece):
            rest = FileSlice(piece.source, piece.start + result, piece.stop)
            self._outgoing.insert(index + 1, rest)
        self.pump()

    def _on_sent(self, result: int) -> None:
        self._is_sending = False
        if self._is_aborted:
            self._release_fd()
            self._record_truncated_late(max(0, result))
        else:
            self._handle_sent(result)

    @isolate_errors
    def _record_truncated_late(self, octets: int) -> None:
        """Tell of a response that was cut short while so many of its octets were on their way."""
        part = self._body_size - (self._response_end - self._bytes_sent - octets)
        self._record_partial(self._status, max(0, part))

    @isolate_errors
    def _handle_sent(self, result: int) -> None:
        if result < 0:
            self._truncate(_error(result))
            return
        self._bytes_sent += result
        while (
            self._outgoing
            and isinstance(piece := self._outgoing[0], bytes)
            and result >= len(piece)
        ):
            result -= len(piece)
            self._outgoing.popleft()
        if result and isinstance(piece, bytes):
            self._outgoing[0] = piece[result:]
        if not self._outgoing:
            self._response_sent()
            self._process_requests()
        self.pump()

    def _record_truncated(self) -> None:
        """Tell of a response that is cut short, when it is known how much of it was sent."""
        if not self._is_sending:
            super()._record_truncated()

    def _close(self) -> None:
        """Close when nothing is under way any more that names the descriptor."""
        if self._is_receiving or self._is_sending:
            self._ring.cancel(self.socket.fileno())
        self._release_fd()

    def _release_fd(self) -> None:
        if not (self._is_receiving or self._is_sending):
            self.socket.close()
            return
        with suppress(OSError):  # by which alone all that is under way ends, too
            self.socket.shutdown(socket.SHUT_RDWR)


def _client_address(connection: socket.socket) -> str:
    try:
        address = connection.getpeername()
    except OSError:  # it has gone
        return "-"
    return str(address[0]) if isinstance(address, tuple) else "-"


def _error(result: int) -> OSError:
    return OSError(-result, os.strerror(-result))
