"""The Proactor step by step as books number it: POSIX AIO, real-time signals, a worker pool.

1. The main thread starts an aio_read on a socket, with a buffer and a signal for its completion.
2. It goes on, for other clients. The buffer is filled meanwhile.
3. The signal says that the data is there. It picks a worker of the pool.
4. The worker handles the request, and starts an aio_write of the response. (A larger file is read
   by aio_read as well, block by block, each with a signal and a worker.)
5. The buffer is sent meanwhile, and a signal says that it has been.
6. A worker tidies up: it starts the next aio_read, or closes.

Where this departs from the book: on Linux it is not the kernel that fills the buffer, but the C
library on a thread that waits in read(2) (linux/posix_aio.py). So a silent client costs a thread,
as in the blocking model, and the number of connections is limited. The signal runs no handler, as
Python's handlers do not get the value that it carries: the main thread reads it from a signalfd.
For new clients it polls: there is no aio_accept.
"""

import os
import socket
from functools import partial
from typing import cast

from aserve.http.messages import FileSlice
from aserve.http1.limits import Limits
from aserve.linux import posix_aio
from aserve.linux.abortive_close import reset_connection
from aserve.linux.posix_aio import COMPLETED, PosixAio
from aserve.policies.site import Site
from aserve.transport.completion import (
    CompletionConnection,
    CompletionLoop,
    OnComplete,
    OnReceive,
)
from aserve.transport.connection_limiter import Decision, process_limits
from aserve.transport.observers import ResponseObserver
from aserve.transport.rejecting import RejectingLoop
from aserve.transport.socket_connection import SocketConnection
from aserve.transport.socket_writer import SocketWriter
from aserve.transport.strand import Call, Inbox, Strand, StrandPool
from aserve.transport.thread_safety import thread_safe_context

_MAX_CONNECTIONS = 512  # each takes a thread of the C library while nothing arrives
_SPARE_OPERATIONS = 32  # writes to clients whose read is pending, and reads that hang
_RECEIVE_SIZE = 16_384  # bytes; every idle connection has a buffer
_RESCAN_S = 0.01
_RESCAN_TICKS = 10  # after a signal was lost

SIGNALS = frozenset({COMPLETED})
"""The signals that every thread of the process must block."""

unavailable_reason = posix_aio.unavailable_reason


class AioProactorServer(CompletionLoop, RejectingLoop):
    """Starts operations and gets their signals on one thread; a thread pool makes the responses."""

    def __init__(  # noqa: PLR0913, PLR0917 - the settings that its row in the registry names
        self,
        site: Site,
        limits: Limits,
        observer: ResponseObserver | None = None,
        threads: int = 8,
        dispatch: str = "queue",
        queue: int = 1_024,
    ) -> None:
        bounds = process_limits(limits, threads=_MAX_CONNECTIONS)
        super().__init__(thread_safe_context(self._adapt(site), limits, observer, bounds))
        self._aio = PosixAio(_MAX_CONNECTIONS + _SPARE_OPERATIONS)
        self._pool = StrandPool(threads, dispatch, queue)
        self._inbox = Inbox()
        self._rescan_ticks = 0  # left, in which completions without a signal are looked for

    def _start(self) -> None:
        self._pool.start()
        self._call_when_readable(self._aio.fileno(), self._aio.process_completions)
        self._call_when_readable(self._inbox.fileno(), self._inbox.read)

    def _run_once(self, timeout: float) -> None:
        super()._run_once(min(timeout, _RESCAN_S) if self._rescan_ticks else timeout)
        if self._rescan_ticks:
            self._find_unannounced()

    def _find_unannounced(self) -> None:
        """Find what is complete though its signal was lost: the queue of signals may be full."""
        if self._aio.find_unannounced():
            self._rescan_ticks = _RESCAN_TICKS

    def _make_connection(self, sock: socket.socket, client: str) -> SocketConnection:
        strand = Strand(self._pool)
        operations = AioOperations(self._aio, sock, self._inbox, strand, self._on_close)
        return AioConnection(sock, client, self._latest_context(), operations, strand)

    def _on_close(self) -> None:
        """Wake up the main thread, which may wait for the last connection to close."""
        if self._stopping:
            self._inbox.post(self._is_idle)

    def _add_connection(self, connection: SocketConnection) -> None:
        if cast("AioConnection", connection).is_rejected:
            self._wait_for_end(connection)
        else:
            super()._add_connection(connection)

    def _connections(self) -> list[CompletionConnection]:
        return [one for one in super()._connections() if one not in self._rejected]

    def _is_idle(self) -> bool:
        return not self._connections()

    def _tick(self) -> None:
        super()._tick()
        self._tick_connections()
        self._rescan_ticks = max(0, self._rescan_ticks - 1)
        self._aio.process_completions()  # those that have their signal
        self._find_unannounced()

    def _shutdown(self) -> None:
        self._pool.shutdown()
        for connection in self._connections():
            connection.abort()
        self._abort_rejected()
        self._aio.close()
        self._callbacks.clear()


class AioConnection(CompletionConnection):
    """A connection whose socket and files are read and written by POSIX AIO.

    One operation at a time, as each takes a thread. A rejected connection has none.
    """

    receives_while_sending = False
    is_rejected = False

    def _reject_or_drop(self, decision: Decision) -> None:
        self.is_rejected = True
        self.socket.setblocking(False)
        super()._reject_or_drop(decision)

    def _send_some(self) -> bool:
        return SocketWriter._send_some(self) if self.is_rejected else super()._send_some()  # noqa: SLF001


class AioOperations:
    """Operations on one connection. Any thread starts them; callbacks are posted to its strand.

    on_close: called when the socket is closed.
    """

    def __init__(
        self,
        aio: PosixAio,
        sock: socket.socket,
        inbox: Inbox,
        strand: Strand,
        on_close: Call,
    ) -> None:
        self._aio = aio
        self._socket = sock
        self._descriptor = sock.fileno()
        self._inbox = inbox
        self._strand = strand
        self._on_close = on_close
        self._is_receiving = False

    def receive(self, on_receive: OnReceive, reject: OnReceive) -> None:
        """Start an aio_read on the socket."""
        buffer = bytearray(_RECEIVE_SIZE)

        def on_complete(result: int) -> None:
            self._is_receiving = False
            data = bytes(memoryview(buffer)[: max(0, result)])
            self._strand.post_request(
                partial(on_receive, result, data), partial(reject, result, data)
            )

        self._is_receiving = True  # before it starts: it may be complete at once
        try:
            self._aio.read(self._descriptor, 0, buffer, on_complete)
        except OSError:
            self._is_receiving = False
            raise

    def send(self, data: bytes, on_complete: OnComplete) -> None:
        """Start an aio_write on the socket."""
        if self._is_receiving:
            self._send_past_receive(data, on_complete)
        else:
            self._aio.write(self._descriptor, data, self._posted(on_complete))

    def _send_past_receive(self, data: bytes, on_complete: OnComplete) -> None:
        """Start an aio_write on a second descriptor: on the same one it would wait for the read."""
        descriptor = os.dup(self._descriptor)
        completed = self._posted(on_complete)

        def close_and_post(result: int) -> None:
            os.close(descriptor)
            completed(result)

        try:
            self._aio.write(descriptor, data, close_and_post)
        except OSError:
            os.close(descriptor)
            raise

    def read_file(self, part: FileSlice, buffer: bytearray, on_complete: OnComplete) -> None:
        """Start an aio_read on a file, which the callback keeps open."""
        self._aio.read(part.source.fileno(), part.start, buffer, self._posted(on_complete))

    def call_soon(self, call: Call) -> None:
        """Call a function after what is complete already."""
        self._inbox.post(partial(self._strand.post, call))

    def cancel(self, *, resets: bool) -> None:
        """Cancel what has not begun. What has begun ends when the connection does."""
        self._aio.cancel(self._descriptor)
        if resets:
            reset_connection(self._socket)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        self._on_close()

    def _posted(self, on_complete: OnComplete) -> OnComplete:
        return lambda result: self._strand.post(partial(on_complete, result))
