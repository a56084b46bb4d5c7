"""Blocking I/O: a thread for each connection, which waits in recv and in send.

Threads cost memory and time in the interpreter, so their number is limited.
"""

import os
import socket
import threading
import weakref
from contextlib import suppress
from functools import partial

from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.transport.blocking_calls import serve_until_closed
from aserve.transport.connection_limiter import process_limits
from aserve.transport.delegating import DelegatingLoop
from aserve.transport.observers import ResponseObserver
from aserve.transport.socket_connection import SocketConnection
from aserve.transport.thread_safety import thread_safe_context

_MAX_THREADS = 512


class BlockingServer(DelegatingLoop):
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

    def _delegate(self, connection: SocketConnection) -> None:
        thread = threading.Thread(target=self._serve_connection, args=(connection,), daemon=True)
        self._threads[thread] = connection
        try:
            thread.start()
        except Exception:  # RuntimeError: the system has no more threads
            del self._threads[thread]
            raise

    def _close_connections(self) -> int:
        """Wait for the threads from now on. Each closes its own connection."""
        drain = partial(os.eventfd_read, self._thread_ended)
        self._call_when_readable(self._thread_ended, drain)
        return 0

    def _is_idle(self) -> bool:
        return not self._threads

    def _shutdown(self) -> None:
        super()._shutdown()
        for thread, connection in list(self._threads.items()):
            with suppress(OSError):  # its thread has just closed it
                connection.socket.shutdown(socket.SHUT_RDWR)  # which ends a blocked recv or send
            thread.join()

    # On the thread of a connection.

    def _serve_connection(self, connection: SocketConnection) -> None:
        """Serve one connection until it is closed; the target of its thread."""
        try:
            serve_until_closed(connection, lambda: self._stopping)
        finally:
            self._threads.pop(threading.current_thread(), None)
            os.eventfd_write(self._thread_ended, 1)
