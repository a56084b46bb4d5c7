"""Proactor: the kernel reads and writes, files included, and reports completed operations.

Nothing here returns EAGAIN. A connection submits a receive, a send or a file read, and continues in
the callback for its completion. Only opening a file blocks: a Site is synchronous.
"""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import cast

from aserve.http.messages import BodyStream, FileSlice
from aserve.http1.limits import Limits
from aserve.http1.states import State
from aserve.linux.io_uring import IoUring
from aserve.policies.site import Site
from aserve.transport.connection_context import ConnectionContext
from aserve.transport.connection_limiter import process_limits
from aserve.transport.internal_errors import isolate_errors
from aserve.transport.observers import ResponseObserver
from aserve.transport.run_loop import RunLoop
from aserve.transport.sending import file_ended, skip_bytes
from aserve.transport.socket_connection import SocketConnection

_BLOCK_SIZE = 131_072  # bytes of a response in memory at once


def unavailable_reason() -> str:
    """Return why this model cannot run on this system, "" if it can."""
    try:
        IoUring(size=1).close()
    except OSError as error:
        reason = error.strerror or str(error)
        return f"this system does not permit io_uring, as of Linux 6.1 ({reason})"
    return ""


class ProactorServer(RunLoop):
    """Serves on one thread with one io_uring."""

    def __init__(
        self, site: Site, limits: Limits, observer: ResponseObserver | None = None
    ) -> None:
        context = ConnectionContext(
            site.without_inlined_bodies(), limits, observer, process_limits(limits)
        )
        super().__init__(context)
        self._ring = IoUring()
        self._accepting: set[socket.socket] = set()  # listeners with a pending accept

    def _run_once(self, timeout: float) -> None:
        self._ring.wait(timeout)

    def _watch_control(self, control_fd: int) -> None:
        buffer = bytearray(1)
        self._ring.read(control_fd, 0, buffer, partial(self._handle_control, control_fd))

    def _handle_control(self, control_fd: int, result: int) -> None:
        if result > 0:  # else its writer is gone, which means stop, too
            self._watch_control(control_fd)
        self._request_stop()

    def _start_accepting(self, listener: socket.socket) -> None:
        """Submit an accept, unless one is pending."""
        if listener not in self._accepting:
            listener.setblocking(True)
            self._accepting.add(listener)
            self._ring.accept(listener.fileno(), partial(self._on_accept, listener))

    def _on_accept(self, listener: socket.socket, result: int) -> None:
        if result >= 0:
            sock = socket.socket(listener.family, listener.type, listener.proto, result)
            self._open_connection(sock, _client_address(sock))
            return
        self._accepting.discard(listener)  # cancelled, or out of descriptors until the next tick
        if self._stopping:
            listener.close()

    def _stop_accepting(self, listener: socket.socket) -> None:
        if listener in self._accepting:
            self._ring.cancel(listener.fileno())
        else:
            listener.close()

    def _make_connection(self, sock: socket.socket, client: str) -> SocketConnection:
        return UringConnection(sock, client, self._context, self._ring)

    def _add_connection(self, connection: SocketConnection) -> None:
        cast("UringConnection", connection).pump()

    def _connections(self) -> "list[UringConnection]":
        """Return the connections that are open now, as a snapshot."""
        return cast("list[UringConnection]", list(self._context.limiter.connections))

    def _tick(self) -> None:
        for connection in self._connections():
            connection.tick()
            connection.pump()
        for listener in self._listeners.values():
            self._start_accepting(listener)

    def _close_connections(self) -> int:
        for connection in self._connections():
            connection.close_after_response()
        return len(self._context.limiter.connections)

    def _is_idle(self) -> bool:
        return not (self._context.limiter.connections or self._accepting)

    def _shutdown(self) -> None:
        for connection in self._connections():
            connection.abort()
        self._ring.close()
        for listener in self._accepting:
            listener.close()


class UringConnection(SocketConnection):
    """A connection with at most one receive, one send and one file read in flight."""

    is_blocking = True  # the kernel waits for the socket, and no thread of ours

    def __init__(
        self, sock: socket.socket, client: str, context: ConnectionContext, ring: IoUring
    ) -> None:
        self._ring = ring
        self._is_receiving = self._is_sending = self._is_reading_file = False
        self._is_turn_scheduled = self._is_reset = False
        super().__init__(sock, client, context)

    @property
    def wants_write(self) -> bool:
        """Whether data waits for the client; waiting for the disk is not the client's delay."""
        return self._is_sending

    @property
    def _has_pending_io(self) -> bool:
        return self._is_sending or self._is_reading_file

    @isolate_errors
    def pump(self) -> None:
        """Submit every operation that is possible now and not in flight."""
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

    def _on_received(self, result: int, data: bytes) -> None:
        self._is_receiving = False
        if self._is_aborted:
            self._release_fd()
        else:
            self._handle_received(result, data)

    @isolate_errors
    def _handle_received(self, result: int, data: bytes) -> None:
        if result >= 0:
            self._feed(data)
        elif result != -errno.ENOBUFS:  # ENOBUFS: out of receive buffers for a moment
            self.abort()
        self.pump()

    def _send_some(self) -> bool:
        """Submit the next block, or the file read that it needs; nothing is sent at once."""
        if self._outgoing and not (self._is_sending or self._is_reading_file):
            block = list(self._next_block())
            next_part = self._outgoing[len(block)] if len(block) < len(self._outgoing) else b""
            if isinstance(next_part, FileSlice) and sum(map(len, block)) < _BLOCK_SIZE:
                self._read_file(len(block), next_part)
            else:
                self._ring.send(self.socket.fileno(), b"".join(block), self._on_sent)
                self._is_sending = True
        return False

    def _next_block(self) -> Iterator[bytes]:
        """Yield the next parts that are in memory, up to a block or a little more."""
        length = 0
        for part in self._outgoing:
            if length >= _BLOCK_SIZE or not isinstance(part, bytes):
                return
            length += len(part)
            yield part

    def _read_file(self, index: int, part: FileSlice) -> None:
        buffer = bytearray(min(len(part), _BLOCK_SIZE))
        on_complete = partial(self._on_file_read, index, part, buffer)
        force_async = not part.source.is_local
        self._ring.read(
            part.source.fileno(), part.start, buffer, on_complete, force_async=force_async
        )
        self._is_reading_file = True

    @isolate_errors
    def _on_file_read(self, index: int, part: FileSlice, buffer: bytearray, result: int) -> None:
        self._is_reading_file = False
        if self._is_aborted:
            return
        if result <= 0:
            self._truncate(_error(result) if result else file_ended(part))
            return
        self._outgoing[index] = bytes(memoryview(buffer)[:result])
        if result < len(part):
            self._outgoing.insert(index + 1, skip_bytes(part, result))
        self.pump()

    def _on_sent(self, result: int) -> None:
        self._is_sending = False
        if self._is_aborted:
            self._release_fd()
            self._record_unfinished_late(max(0, result))
        else:
            self._handle_sent(result)

    @isolate_errors
    def _record_unfinished_late(self, last_count: int) -> None:
        """Record a truncated response whose last send, of last_count bytes, ended after abort."""
        unsent = self._response_end - self._bytes_sent - last_count
        self._record_truncated(self._status, self._body_size - unsent)

    @isolate_errors
    def _handle_sent(self, result: int) -> None:
        if result < 0:
            self._truncate(_error(result))
            return
        self._bytes_sent += result
        while (
            self._outgoing and isinstance(part := self._outgoing[0], bytes) and result >= len(part)
        ):
            result -= len(part)
            self._outgoing.popleft()
        if result and isinstance(part, bytes):
            self._outgoing[0] = part[result:]
        if self._outgoing and isinstance(part := self._outgoing[0], BodyStream):
            try:
                self._read_from_stream(part)
            except (OSError, EOFError) as error:
                self._truncate(error)
                return
        if not self._outgoing:
            if self._http.state is State.SENDING:  # and no 100 (Continue)
                self._response_sent(self._status, self._body_size)
            self._process_requests()
        self.pump()

    def _record_unfinished(self) -> None:
        """Record a truncated response, unless a send is in flight whose result is not yet known."""
        if not self._is_sending:
            super()._record_unfinished()

    def _close_socket(self) -> None:
        """Close the socket, once no operation on it is in flight."""
        if self._is_receiving or self._is_sending:
            self._ring.cancel(self.socket.fileno())
        self._release_fd()

    def _reset_when_closed(self) -> None:
        super()._reset_when_closed()
        self._is_reset = True

    def _release_fd(self) -> None:
        if not (self._is_receiving or self._is_sending):
            self.socket.close()
        elif not self._is_reset:  # shutdown would send FIN
            with suppress(OSError):  # which alone also ends all operations in flight
                self.socket.shutdown(socket.SHUT_RDWR)


def _client_address(sock: socket.socket) -> str:
    try:
        address = sock.getpeername()
    except OSError:  # the client has gone
        return "-"
    return str(address[0]) if isinstance(address, tuple) else "-"


def _error(result: int) -> OSError:
    return OSError(-result, os.strerror(-result))
