"""A connection whose operations the system carries out: it starts them, and goes on when complete.

It is what both proactors have in common. How operations are started, and on which threads they
complete, is in the files of the models.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Protocol, cast

from aserve.http.messages import BodyStream, FileSlice
from aserve.http1.states import State
from aserve.policies.site import Site
from aserve.transport.connection_context import ConnectionContext
from aserve.transport.internal_errors import isolate_errors
from aserve.transport.run_loop import RunLoop
from aserve.transport.sending import file_ended, skip_bytes
from aserve.transport.socket_connection import SocketConnection
from aserve.transport.strand import Call, Strand
from aserve.transport.turns import MAX_TURN_S

OnComplete = Callable[[int], object]
"""Gets the result that the system call of the same name would return, or a negative errno."""

OnReceive = Callable[[int, bytes], object]
"""Gets the same result, and the data that has arrived."""

_BLOCK_SIZE = 131_072  # bytes of a response in memory at once


class Operations(Protocol):
    """Operations on one connection, each with a callback, which is called later."""

    def receive(self, on_receive: OnReceive, reject: OnReceive) -> None:
        """Receive what comes next. reject: called instead if too many requests wait already."""

    def send(self, data: bytes, on_complete: OnComplete) -> None:
        """Send data, or as much of it as the socket has room for."""

    def read_file(self, part: FileSlice, buffer: bytearray, on_complete: OnComplete) -> None:
        """Read the first bytes of a part of a file into a buffer."""

    def call_soon(self, call: Call) -> None:
        """Call a function after what is complete already."""

    def cancel(self, *, resets: bool) -> None:
        """Have pending operations on the socket end; with RST and without FIN if it resets."""

    def close(self) -> None:
        """Close the socket, on which no operation is pending."""


class CompletionConnection(SocketConnection):
    """A connection with at most one receive, one send and one file read in flight.

    strand: where its functions are called, None for the thread of the server.
    """

    is_blocking = True  # the kernel or a library waits for the socket, and no thread of ours
    receives_while_sending = True
    """Whether a receive is started, too, while a response is read from its file and sent."""

    def __init__(
        self,
        sock: socket.socket,
        client: str,
        context: ConnectionContext,
        operations: Operations,
        strand: Strand | None = None,
    ) -> None:
        self._operations = operations
        self._strand = strand
        self._is_receiving = self._is_sending = self._is_reading_file = False
        self._is_turn_scheduled = self._is_reset = False
        super().__init__(sock, client, context)

    @property
    def wants_write(self) -> bool:
        """Whether data waits for the client; waiting for the disk is not the client's delay."""
        return self._is_sending

    @property
    def wants_receive(self) -> bool:
        """Whether to start a receive now."""
        is_busy = self._is_sending or self._is_reading_file
        may_start = self.receives_while_sending or not is_busy
        return may_start and self.wants_read and not self._is_receiving

    @property
    def _has_pending_io(self) -> bool:
        return self._is_sending or self._is_reading_file

    def post(self, call: Call) -> None:
        """Have a function of this connection called when no other one runs."""
        if self._strand:
            self._strand.post(call)
        else:
            call()

    def on_tick(self) -> None:
        """Do what is due once a second."""
        if not self._is_aborted:
            self.tick()
            self.pump()

    def on_stop(self) -> None:
        """Close after the response that is being made or sent, or at once if there is none."""
        if not self._is_aborted:
            self.close_after_response()

    @isolate_errors
    def pump(self) -> None:
        """Start every operation that is possible now and not in flight."""
        self._send_some()
        if self.wants_turn:
            if not self._is_turn_scheduled:
                self._is_turn_scheduled = True
                self._operations.call_soon(self._run_turn)
        elif self.wants_receive:
            self._operations.receive(self._on_received, self._reject_received)
            self._is_receiving = True

    @isolate_errors
    def _run_turn(self) -> None:
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

    def _reject_received(self, result: int, data: bytes) -> None:
        """Answer 503 to a request, or to a part of it, if there is one and no response yet."""
        if not data or self._is_aborted or not self.is_receiving:
            self._on_received(result, data)
            return
        self._is_receiving = False
        self.reject(503, "Too many requests are waiting. Try again in a moment.")
        self.pump()

    def _send_some(self) -> bool:
        """Start to send the next block, or to read it from its file; nothing is sent at once."""
        if self._outgoing and not (self._is_sending or self._is_reading_file):
            block = list(self._next_block())
            next_part = self._outgoing[len(block)] if len(block) < len(self._outgoing) else b""
            if isinstance(next_part, FileSlice) and sum(map(len, block)) < _BLOCK_SIZE:
                self._read_file(len(block), next_part)
            else:
                self._operations.send(b"".join(block), self._on_sent)
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
        self._operations.read_file(part, buffer, on_complete)
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
                self._read_from_stream(part, monotonic() + MAX_TURN_S)
            except (OSError, EOFError) as error:
                self._truncate(error)
                return
        if not self._outgoing:
            if self._http.state is State.SENDING:  # and no 100 (Continue)
                self._response_sent(self._status, self._body_size)
            self._process_requests()
        self.pump()  # which sends nothing if the stream has nothing yet, and so comes back

    def _record_unfinished(self) -> None:
        """Record a truncated response, unless a send is in flight whose result is not yet known."""
        if not self._is_sending:
            super()._record_unfinished()

    def _close_socket(self) -> None:
        """Close the socket, once no operation on it is in flight."""
        if self._is_receiving or self._is_sending:
            self._operations.cancel(resets=self._is_reset)
        self._release_fd()

    def _reset_when_closed(self) -> None:
        super()._reset_when_closed()
        self._is_reset = True

    def _release_fd(self) -> None:
        if not (self._is_receiving or self._is_sending):
            self._operations.close()
        elif not self._is_reset:  # shutdown would send FIN
            with suppress(OSError):  # which alone also ends all operations in flight
                self.socket.shutdown(socket.SHUT_RDWR)


class CompletionLoop(RunLoop):
    """What both proactors do with all of their connections."""

    def _adapt(self, site: Site) -> Site:
        return site.without_inlined_bodies()

    def _connections(self) -> list[CompletionConnection]:
        """Return the connections that are open now, as a snapshot."""
        return cast("list[CompletionConnection]", list(self._context.limiter.connections))

    def _add_connection(self, connection: SocketConnection) -> None:
        cast("CompletionConnection", connection).pump()  # no worker has it yet

    def _tick_connections(self) -> None:
        for connection in self._connections():
            connection.post(connection.on_tick)

    def _close_connections(self) -> int:
        for connection in self._connections():
            connection.post(connection.on_stop)
        return len(self._context.limiter.connections)


def _error(result: int) -> OSError:
    return OSError(-result, os.strerror(-result))
