"""Reactor: the main thread only polls for readiness; a thread pool reads, handles and writes.

EPOLLONESHOT gives a connection to one thread at a time. Once the kernel has reported a connection,
it does not poll it until its thread rearms it, as the last thing it does. Without that flag the
kernel would report the same bytes again before they are read, and a second thread would process
the connection at the same time as the first.
"""

import os
import select
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.transport.connection_limiter import RESOURCE_ERRNOS, process_limits
from aserve.transport.eventloop.connection_host import ReportRemaining, ResponseObserver
from aserve.transport.internal_errors import log_internal_error
from aserve.transport.socket_connection import ConnectionContext, SocketConnection
from aserve.transport.thread_safety import LockedConnectionLimiter, serialize_calls
from aserve.transport.worker_threads import WorkerThreads

_MAX_ACCEPTS = 64  # connections in one turn, before the open ones are served
_MAX_TURNS = 16  # of one connection in a row; then it queues behind the others


class Registration:
    """A connection and whether a thread owns it. The lock guards the change of owner."""

    __slots__ = (
        "connection",
        "descriptor",
        "is_closing",
        "is_owned",
        "is_registered",
        "is_tick_due",
        "lock",
    )

    def __init__(self, connection: SocketConnection) -> None:
        self.connection = connection
        self.descriptor = connection.socket.fileno()  # which a closed socket does not tell
        self.is_owned = True  # until it is polled for the first time
        self.is_registered = False
        self.is_tick_due = False  # a second has passed
        self.is_closing = False  # close_after_response was called
        self.lock = threading.Lock()


class ReactorServer:
    """Polls on one thread, and does everything else on a thread pool."""

    oneshot_flag = select.EPOLLONESHOT

    def __init__(
        self,
        site: Site,
        limits: Limits,
        observer: ResponseObserver | None = None,
        threads: int = 8,
        dispatch: str = "queue",
    ) -> None:
        bounds = process_limits(limits)
        self._context = ConnectionContext(site, limits, serialize_calls(observer), bounds)
        self._context.limiter = LockedConnectionLimiter(bounds)
        self._workers: WorkerThreads[Registration] = WorkerThreads(threads, dispatch, self._process)
        self._epoll = select.epoll()
        self._registrations: dict[Registration, None] = {}
        self._by_fd: dict[int, Registration] = {}
        self._all_closed = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stopping = False
        self._deadline = float("inf")

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
        self._listeners = {listener.fileno(): listener for listener in listeners}
        self._control_fds, self._grace, self._report_remaining = (
            control_fds,
            grace,
            report_remaining,
        )
        for listener in listeners:
            listener.setblocking(False)
            self._epoll.register(listener, select.EPOLLIN | select.EPOLLONESHOT)
        for descriptor in (self._all_closed, *control_fds):
            self._epoll.register(descriptor, select.EPOLLIN)
        ticked = time.monotonic()
        while not self._is_finished():
            self._dispatch([descriptor for descriptor, _ in self._epoll.poll(self._poll_timeout())])
            now = time.monotonic()
            if now - ticked >= 1:
                ticked = now
                self._tick()
        self._shutdown()

    def _dispatch(self, ready: list[int]) -> None:
        """Submit each ready connection to the pool, then handle control descriptors and listeners.

        In this order, so that a connection that is claimed has no event in this batch.
        """
        for descriptor in ready:
            if registration := self._by_fd.get(descriptor):
                registration.is_owned = True
                self._workers.submit(registration)
        for descriptor in ready:
            if descriptor in self._control_fds:
                self._handle_control(descriptor)
            elif listener := self._listeners.get(descriptor):
                self._accept(listener)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_MAX_ACCEPTS):
            try:
                sock, address = listener.accept()
            except OSError as error:
                if error.errno in RESOURCE_ERRNOS:
                    return  # not rearmed until the next tick, or the kernel would report it at once
                break  # no connection is waiting, or the client has gone
            client = address[0] if isinstance(address, tuple) else "-"
            try:
                connection = SocketConnection(sock, client, self._context)
            except Exception as error:  # noqa: BLE001 - it ends this connection alone
                log_internal_error(error, client)
                sock.close()
                continue
            if not connection.is_closed:
                registration = Registration(connection)
                self._registrations[registration] = None
                self._by_fd[registration.descriptor] = registration
                self._release(registration)
        self._epoll.modify(listener, select.EPOLLIN | select.EPOLLONESHOT)

    # On the pool, each registration on one thread at a time.

    def _process(self, registration: Registration) -> None:
        """Process a connection as far as possible without waiting."""
        connection = registration.connection
        for _ in range(_MAX_TURNS):
            if not connection.process_ready() or connection.wants_turn:
                break
        if registration.is_tick_due and not connection.is_closed:
            registration.is_tick_due = False
            connection.tick()
        self._release(registration)

    def _release(self, registration: Registration) -> None:
        """Poll a connection again, or remove it. Any other thread may own it afterwards."""
        connection = registration.connection
        if self._stopping and not registration.is_closing and not connection.is_closed:
            registration.is_closing = True
            connection.close_after_response()
        if not connection.is_closed:
            try:
                self._rearm(registration)
            except Exception as error:  # noqa: BLE001 - such as too many epoll watches
                connection.fail(error)
                connection.abort()
        if connection.is_closed:
            self._remove(registration)

    def _rearm(self, registration: Registration) -> None:
        connection = registration.connection
        # A connection with requests left has its turn when its socket is writable: mostly at once.
        writable = connection.wants_write or connection.wants_turn
        events = (
            self.oneshot_flag | connection.wants_read * select.EPOLLIN | writable * select.EPOLLOUT
        )
        with registration.lock:
            registration.is_owned = False
            arm = self._epoll.modify if registration.is_registered else self._epoll.register
            registration.is_registered = True
            try:
                arm(registration.descriptor, events)
            except Exception:
                registration.is_owned = True  # it stays with this thread, which closes it
                raise

    def _remove(self, registration: Registration) -> None:
        """Remove a closed connection. Its descriptor may belong to another one by now."""
        self._registrations.pop(registration, None)
        if self._stopping and not self._registrations:
            os.eventfd_write(self._all_closed, 1)

    # On the main thread.

    def _claim(self, registration: Registration) -> None:
        """Submit a connection that no thread owns: only its own thread may change it."""
        with registration.lock:
            if registration.is_owned:
                return
            registration.is_owned, registration.is_registered = True, False
            with suppress(OSError):
                # No event mask excludes EPOLLHUP: epoll_ctl(2).
                self._epoll.unregister(registration.descriptor)
        self._workers.submit(registration)

    def _tick(self) -> None:
        for registration in list(self._registrations):
            registration.is_tick_due = True
            self._claim(registration)
        for listener in self._listeners:
            self._epoll.modify(listener, select.EPOLLIN | select.EPOLLONESHOT)

    def _handle_control(self, control_fd: int) -> None:
        if not os.read(control_fd, 1):
            self._epoll.unregister(control_fd)  # its writer is gone, which means stop, too
        if self._stopping:
            self._deadline = 0.0
            return
        self._stopping = True
        self._deadline = time.monotonic() + self._grace
        self._context.limiter.close()
        for listener in self._listeners.values():
            self._epoll.unregister(listener)
            listener.close()
        self._listeners.clear()
        if self._report_remaining:  # idle connections close, each on its thread
            self._report_remaining(self._context.active_responses, 0)
        for registration in list(self._registrations):
            self._claim(registration)

    def _poll_timeout(self) -> float:
        return max(0.0, min(1.0, self._deadline - time.monotonic()))

    def _is_finished(self) -> bool:
        return self._stopping and (not self._registrations or time.monotonic() >= self._deadline)

    def _shutdown(self) -> None:
        self._workers.shutdown()
        for registration in list(self._registrations):
            registration.connection.abort()
        self._epoll.close()
        os.close(self._all_closed)
