"""Blocking I/O: a thread for each connection, which waits in recv and in send.

Threads cost memory and time in the interpreter, so their number is limited.
"""

import os
import select
import socket
import struct
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress

from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.transport.connection_limiter import RESOURCE_ERRNOS, process_limits
from aserve.transport.eventloop.connection_host import ReportRemaining, ResponseObserver
from aserve.transport.internal_errors import log_internal_error
from aserve.transport.socket_connection import ConnectionContext, SocketConnection
from aserve.transport.thread_safety import LockedConnectionLimiter, serialize_calls

_MAX_THREADS = 512
_ONE_SECOND = struct.pack("ll", 1, 0)  # a timeval: the timeout of recv and send


class BlockingServer:
    """Accepts on one thread and serves each connection on a thread of its own."""

    def __init__(
        self, site: Site, limits: Limits, observer: ResponseObserver | None = None
    ) -> None:
        bounds = process_limits(limits, threads=_MAX_THREADS)
        self._context = ConnectionContext(site, limits, serialize_calls(observer), bounds)
        self._context.limiter = LockedConnectionLimiter(bounds)
        self._threads: dict[threading.Thread, SocketConnection] = {}
        self._stopping = False
        # Written by each thread that ends.
        self._thread_ended = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        weakref.finalize(self, os.close, self._thread_ended)

    def run(
        self,
        listeners: Sequence[socket.socket],
        control_fds: tuple[int, ...],
        grace: float,
        report_remaining: ReportRemaining | None = None,
    ) -> None:
        """Serve until a byte or the end of file arrives on a control descriptor.

        The first one stops gracefully: responses that are being sent get grace seconds more, and
        report_remaining is called with their number. The second one stops at once.
        """
        poller = select.poll()
        for descriptor in control_fds:
            poller.register(descriptor, select.POLLIN)
        self._accept_until_stopped({listener.fileno(): listener for listener in listeners}, poller)
        poller.register(self._thread_ended, select.POLLIN)
        self._context.limiter.close()
        if report_remaining:  # idle connections close, each on its thread
            report_remaining(self._context.active_responses, 0)
        self._wait_for_threads(poller, time.monotonic() + grace)
        for thread, connection in list(self._threads.items()):
            with suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _accept_until_stopped(
        self, listeners: dict[int, socket.socket], poller: select.poll
    ) -> None:
        """Start a thread for each connection until a control descriptor is ready."""
        for listener in listeners.values():
            listener.setblocking(False)  # a client may go before it is accepted
            poller.register(listener, select.POLLIN)
        while not self._stopping:
            for descriptor, _ in poller.poll():
                if descriptor not in listeners:
                    self._stopping = True
                    _read_control(descriptor, poller)
                elif not self._accept_one(listeners[descriptor]):
                    _pause_listener(poller, listeners[descriptor])
        for listener in listeners.values():
            poller.unregister(listener)
            listener.close()

    def _accept_one(self, listener: socket.socket) -> bool:
        """Accept one connection. Return False if descriptors have run out."""
        try:
            sock, address = listener.accept()
        except OSError as error:
            return error.errno not in RESOURCE_ERRNOS
        client = address[0] if isinstance(address, tuple) else "-"
        try:
            connection = SocketConnection(sock, client, self._context)
        except Exception as error:  # noqa: BLE001 - it ends this connection alone
            log_internal_error(error, client)
            sock.close()
            return True
        if not connection.is_closed:
            self._start_thread(connection)
        return True

    def _start_thread(self, connection: SocketConnection) -> None:
        """Start the thread of a connection."""
        thread = threading.Thread(target=self._serve_connection, args=(connection,), daemon=True)
        self._threads[thread] = connection
        try:
            connection.socket.setblocking(True)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                connection.socket.setsockopt(socket.SOL_SOCKET, option, _ONE_SECOND)
            thread.start()
        except Exception as error:  # noqa: BLE001 - RuntimeError: the system has no more threads
            del self._threads[thread]
            connection.fail(error)
            connection.abort()

    def _serve_connection(self, connection: SocketConnection) -> None:
        """Serve one connection until it is closed; the target of its thread."""
        try:
            self._process_until_closed(connection)
        except Exception as error:  # noqa: BLE001 - what process_ready did not handle
            connection.fail(error)
            connection.abort()
        finally:
            self._threads.pop(threading.current_thread(), None)
            os.eventfd_write(self._thread_ended, 1)

    def _process_until_closed(self, connection: SocketConnection) -> None:
        ticked, is_stopping = time.monotonic(), False
        while not connection.is_closed:
            connection.process_ready(readable=not connection.wants_write)
            if self._stopping and not is_stopping and not connection.is_closed:
                is_stopping = True
                connection.close_after_response()
            now = time.monotonic()
            if now - ticked >= 1 and not connection.is_closed:
                ticked = now
                connection.tick()

    def _wait_for_threads(self, poller: select.poll, deadline: float) -> None:
        """Wait until all threads have ended, the deadline, or a second stop request."""
        while self._threads and (remaining := deadline - time.monotonic()) > 0:
            for descriptor, _ in poller.poll(remaining * 1_000):
                if descriptor != self._thread_ended:
                    _read_control(descriptor, poller)
                    return
                os.eventfd_read(descriptor)


def _pause_listener(poller: select.poll, listener: socket.socket) -> None:
    """Do not accept for a second, or until another descriptor is ready."""
    poller.unregister(listener)
    poller.poll(1_000)
    poller.register(listener, select.POLLIN)


def _read_control(control_fd: int, poller: select.poll) -> None:
    """Read a control byte. At the end of file, which means stop, too, the descriptor is removed."""
    if not os.read(control_fd, 1):
        poller.unregister(control_fd)
