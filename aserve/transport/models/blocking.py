"""Blocking I/O: a thread for each connection, which waits in recv and in send.

Threads cost memory and the interpreter's attention, so their number is bounded.
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

from aserve.handlers.static_site import StaticSite
from aserve.http1.limits import Limits
from aserve.transport.connection_limiter import RESOURCE_ERRNOS, process_limits
from aserve.transport.eventloop.connection_host import ReportRemaining, ResponseObserver
from aserve.transport.internal_errors import log_internal_error
from aserve.transport.socket_connection import ConnectionContext, SocketConnection
from aserve.transport.thread_safety import LockedConnectionLimiter, serialize_calls

_MAX_THREADS = 512
_ONE_SECOND = struct.pack("ll", 1, 0)  # timeval: how long the kernel lets a call wait


class BlockingServer:
    """Accepts on one thread and serves each connection on its own."""

    def __init__(
        self, site: StaticSite, limits: Limits, observe: ResponseObserver | None = None
    ) -> None:
        bounds = process_limits(limits, threads=_MAX_THREADS)
        self._context = ConnectionContext(site, limits, serialize_calls(observe), bounds)
        self._context.limiter = LockedConnectionLimiter(bounds)
        self._threads: dict[threading.Thread, SocketConnection] = {}
        self._stopping = False
        self._thread_ended = os.eventfd(
            0, os.EFD_NONBLOCK | os.EFD_CLOEXEC
        )  # rung by threads that end
        weakref.finalize(self, os.close, self._thread_ended)

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
        waiting = select.poll()
        for descriptor in control_fds:
            waiting.register(descriptor, select.POLLIN)
        self._accept_until_stopped({listener.fileno(): listener for listener in listeners}, waiting)
        waiting.register(self._thread_ended, select.POLLIN)
        self._context.limiter.close()
        if report_remaining:  # those that are idle will go, each by its thread
            report_remaining(self._context.active_responses, 0)
        self._wait_for_threads(waiting, time.monotonic() + grace)
        for thread, talk in list(self._threads.items()):
            with suppress(OSError):
                talk.socket.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _accept_until_stopped(
        self, listeners: dict[int, socket.socket], waiting: select.poll
    ) -> None:
        """Start a thread for each connection until there is an order."""
        for listener in listeners.values():
            listener.setblocking(False)  # whoever was to be accepted may have gone
            waiting.register(listener, select.POLLIN)
        while not self._stopping:
            for descriptor, _ in waiting.poll():
                if descriptor not in listeners:
                    self._stopping = True
                    _read_control(descriptor, waiting)
                elif not self._accept_one(listeners[descriptor]):
                    _pause_listener(waiting, listeners[descriptor])
        for listener in listeners.values():
            waiting.unregister(listener)
            listener.close()

    def _accept_one(self, listener: socket.socket) -> bool:
        """Let in whoever waits; tell whether it is worth while to ask again at once."""
        try:
            connection, address = listener.accept()
        except OSError as error:
            return error.errno not in RESOURCE_ERRNOS
        client = address[0] if isinstance(address, tuple) else "-"
        try:
            talk = SocketConnection(connection, client, self._context)
        except Exception as error:  # noqa: BLE001 - it ends this connection alone
            log_internal_error(error, client)
            connection.close()
            return True
        if not talk.is_closed:
            self._start_thread(talk)
        return True

    def _start_thread(self, talk: SocketConnection) -> None:
        """Give a connection its thread."""
        thread = threading.Thread(target=self._serve_connection, args=(talk,), daemon=True)
        self._threads[thread] = talk
        try:
            talk.socket.setblocking(True)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                talk.socket.setsockopt(socket.SOL_SOCKET, option, _ONE_SECOND)
            thread.start()
        except Exception as error:  # noqa: BLE001 - RuntimeError: the system has no more threads
            del self._threads[thread]
            talk.fail(error)
            talk.abort()

    def _serve_connection(self, talk: SocketConnection) -> None:
        """Be one connection's thread, from its first octet to its last."""
        try:
            self._process_until_closed(talk)
        except Exception as error:  # noqa: BLE001 - what was not contained before
            talk.fail(error)
            talk.abort()
        finally:
            self._threads.pop(threading.current_thread(), None)
            os.eventfd_write(self._thread_ended, 1)

    def _process_until_closed(self, talk: SocketConnection) -> None:
        ticked, told = time.monotonic(), False
        while not talk.is_closed:
            talk.process_ready(readable=not talk.wants_write)
            if self._stopping and not told and not talk.is_closed:
                told = True
                talk.close_after_response()
            now = time.monotonic()
            if now - ticked >= 1 and not talk.is_closed:
                ticked = now
                talk.tick()

    def _wait_for_threads(self, waiting: select.poll, deadline: float) -> None:
        """Wait for the threads to end, for a deadline, or for another order."""
        while self._threads and (left := deadline - time.monotonic()) > 0:
            for descriptor, _ in waiting.poll(left * 1_000):
                if descriptor != self._thread_ended:
                    _read_control(descriptor, waiting)
                    return
                os.eventfd_read(descriptor)


def _pause_listener(waiting: select.poll, listener: socket.socket) -> None:
    """Leave a listener alone for a second, or until something else happens."""
    waiting.unregister(listener)
    waiting.poll(1_000)
    waiting.register(listener, select.POLLIN)


def _read_control(order: int, waiting: select.poll) -> None:
    """Take an order; whoever gave them may be gone, which is one, too."""
    if not os.read(order, 1):
        waiting.unregister(order)
