"""Blocking I/O: a thread for each connection, which waits in recv and in send.

Threads cost memory and time in the interpreter, so their number is limited.
"""

import os
import socket
import struct
import threading
import time
import weakref
from contextlib import suppress
from functools import partial

from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.transport.connection_limiter import process_limits
from aserve.transport.observers import ResponseObserver
from aserve.transport.rejecting import RejectingLoop
from aserve.transport.socket_connection import SocketConnection
from aserve.transport.thread_safety import thread_safe_context

_MAX_THREADS = 512
_ONE_SECOND = struct.pack("ll", 1, 0)  # a timeval: the timeout of recv and send


class BlockingServer(RejectingLoop):
    """Accepts on one thread and serves each connection on a thread of its own."""

    def __init__(
        self, site: Site, limits: Limits, observer: ResponseObserver | None = None
    ) -> None:
        bounds = process_limits(limits, threads=_MAX_THREADS)
        super().__init__(thread_safe_context(site, limits, observer, bounds))
        self._threads: dict[threading.Thread, SocketConnection] = {}
        # Written by each thread that ends.
        self._thread_ended = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        weakref.finalize(self, os.close, self._thread_ended)

    # On the main thread.

    def _add_connection(self, connection: SocketConnection) -> None:
        """Start the thread of a connection, unless it was rejected."""
        if not connection.is_receiving:
            self._wait_for_end(connection)
            return
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

    def _close_connections(self) -> int:
        """Wait for the threads from now on. Each closes its own connection."""
        drain = partial(os.eventfd_read, self._thread_ended)
        self._call_when_readable(self._thread_ended, drain)
        return 0

    def _is_idle(self) -> bool:
        return not self._threads

    def _shutdown(self) -> None:
        self._abort_rejected()
        for thread, connection in list(self._threads.items()):
            with suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)  # which ends a blocked recv or send
            thread.join()

    # On the thread of a connection.

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
