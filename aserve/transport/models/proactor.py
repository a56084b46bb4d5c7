"""Proactor: the kernel reads and writes, files included, and reports completed operations.

One thread has the ring: it hands operations to the kernel, and gets their completions. By default
it also makes the responses; with threads, it passes each completion to a worker, and the worker's
operations come back to it. No call here returns EAGAIN. Only opening a file blocks: a Site is
synchronous.
"""

import socket
from functools import partial

from aserve.http.messages import FileSlice
from aserve.http1.limits import Limits
from aserve.linux.io_uring import IoUring
from aserve.policies.site import Site
from aserve.transport.completion import (
    CompletionConnection,
    CompletionLoop,
    OnComplete,
    OnReceive,
    Operations,
)
from aserve.transport.connection_context import ConnectionContext
from aserve.transport.connection_limiter import process_limits
from aserve.transport.observers import ResponseObserver
from aserve.transport.socket_connection import SocketConnection
from aserve.transport.strand import Call, Inbox, Strand, StrandPool
from aserve.transport.thread_safety import thread_safe_context


def unavailable_reason() -> str:
    """Return why this model cannot run on this system, "" if it can."""
    try:
        IoUring(size=1).close()
    except OSError as error:
        reason = error.strerror or str(error)
        return f"this system does not permit io_uring, as of Linux 6.1 ({reason})"
    return ""


class ProactorServer(CompletionLoop):
    """Serves with one io_uring: on its thread, or with worker threads that make the responses."""

    def __init__(  # noqa: PLR0913, PLR0917 - the settings that its row in the registry names
        self,
        site: Site,
        limits: Limits,
        observer: ResponseObserver | None = None,
        threads: int = 0,
        dispatch: str = "queue",
        queue: int = 1_024,
    ) -> None:
        make_context = thread_safe_context if threads else ConnectionContext
        super().__init__(make_context(self._adapt(site), limits, observer, process_limits(limits)))
        self._ring = IoUring()
        self._pool = StrandPool(threads, dispatch, queue) if threads else None
        self._inbox = Inbox(is_blocking=True)  # for io_uring, which would report EAGAIN
        self._is_closing = False  # the ring cancels what is pending, and takes nothing new
        self._accepting: set[socket.socket] = set()  # listeners with a pending accept

    def _start(self) -> None:
        if self._pool:
            self._pool.start()
            self._watch_inbox()

    def _watch_inbox(self) -> None:
        self._ring.read(self._inbox.fileno(), 0, bytearray(8), self._on_inbox)

    def _on_inbox(self, result: int) -> None:
        self._inbox.make_calls()
        if result > 0 and not self._is_closing:
            self._watch_inbox()

    def _run_once(self, timeout: float) -> None:
        self._ring.wait(timeout)

    def _watch_control(self, control_fd: int) -> None:
        buffer = bytearray(1)
        self._ring.read(control_fd, 0, buffer, partial(self._handle_control, control_fd, buffer))

    def _handle_control(self, control_fd: int, buffer: bytearray, result: int) -> None:
        # 0: its writer is gone, which means stop, too.
        if result > 0 and not self._is_closing:
            self._watch_control(control_fd)
        self._handle_order(buffer[0] if result > 0 else 0)

    def _start_accepting(self, listener: socket.socket) -> None:
        """Submit an accept, unless one is pending."""
        if listener not in self._accepting:
            listener.setblocking(True)
            self._accepting.add(listener)
            self._ring.accept(listener.fileno(), partial(self._on_accept, listener))

    def _on_accept(self, listener: socket.socket, result: int) -> None:
        if result >= 0:
            sock = socket.socket(listener.family, listener.type, listener.proto, result)
            try:
                client = _client_address(sock)
            except OSError:  # it has gone, and nothing says who it was
                sock.close()
            else:
                self._open_connection(sock, client)
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
        operations: Operations = RingOperations(self._ring, sock)
        strand = None
        if self._pool:
            strand = Strand(self._pool)
            operations = ForwardedOperations(operations, self._inbox, strand)
        return CompletionConnection(sock, client, self._latest_context(), operations, strand)

    def _tick(self) -> None:
        self._tick_connections()
        for listener in self._listeners.values():
            self._start_accepting(listener)

    def _is_idle(self) -> bool:
        return not (self._context.limiter.connections or self._accepting)

    def _shutdown(self) -> None:
        if self._pool:
            self._pool.shutdown()
        for connection in self._connections():
            connection.abort()
        self._inbox.make_calls()
        self._is_closing = True
        self._ring.close()
        self._inbox.make_calls()  # what the last completions have asked for
        for listener in self._accepting:
            listener.close()


class RingOperations:
    """Operations on one connection, submitted to a ring by its own thread."""

    def __init__(self, ring: IoUring, sock: socket.socket) -> None:
        self._ring = ring
        self._socket = sock
        self._descriptor = sock.fileno()

    def receive(self, on_receive: OnReceive, _reject: OnReceive) -> None:
        """Submit a receive."""
        self._ring.receive(self._descriptor, on_receive)

    def send(self, data: bytes, on_complete: OnComplete) -> None:
        """Submit a send."""
        self._ring.send(self._descriptor, data, on_complete)

    def read_file(self, part: FileSlice, buffer: bytearray, on_complete: OnComplete) -> None:
        """Submit the read of a file; by a thread of the kernel if the file is not local."""
        file, force_async = part.source.fileno(), not part.source.is_local
        self._ring.read(file, part.start, buffer, on_complete, force_async=force_async)

    def call_soon(self, call: Call) -> None:
        """Call a function with the next completions."""
        self._ring.call_soon(lambda _result: call())

    def cancel(self, *, resets: bool) -> None:  # noqa: ARG002 - cancelling sends nothing
        """Cancel what is pending on the socket."""
        self._ring.cancel(self._descriptor)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class ForwardedOperations:
    """Operations that worker threads start: the ring's thread submits them, in their order.

    Their callbacks are posted to the strand of the connection. The socket is closed by the ring's
    thread, too: else an operation that is still on its way might meet another connection that has
    got the same descriptor.
    """

    def __init__(self, ring: Operations, inbox: Inbox, strand: Strand) -> None:
        self._ring = ring
        self._inbox = inbox
        self._strand = strand

    def receive(self, on_receive: OnReceive, reject: OnReceive) -> None:
        """Have a receive submitted."""

        def on_complete(result: int, data: bytes) -> None:
            self._strand.post_request(
                partial(on_receive, result, data), partial(reject, result, data)
            )

        self._inbox.post(partial(self._ring.receive, on_complete, reject))

    def send(self, data: bytes, on_complete: OnComplete) -> None:
        """Have a send submitted."""
        self._inbox.post(partial(self._ring.send, data, self._posted(on_complete)))

    def read_file(self, part: FileSlice, buffer: bytearray, on_complete: OnComplete) -> None:
        """Have the read of a file submitted."""
        self._inbox.post(partial(self._ring.read_file, part, buffer, self._posted(on_complete)))

    def call_soon(self, call: Call) -> None:
        """Call a function after what is posted already, for any connection."""
        self._inbox.post(partial(self._strand.post, call))

    def cancel(self, *, resets: bool) -> None:
        """Have the pending operations on the socket cancelled."""
        self._inbox.post(partial(self._ring.cancel, resets=resets))

    def close(self) -> None:
        """Have the socket closed."""
        self._inbox.post(self._ring.close)

    def _posted(self, on_complete: OnComplete) -> OnComplete:
        return lambda result: self._strand.post(partial(on_complete, result))


def _client_address(sock: socket.socket) -> str:
    """Return the address of a client, "-" on a Unix socket. Raises OSError if it has gone."""
    address = sock.getpeername()
    return str(address[0]) if isinstance(address, tuple) else "-"
