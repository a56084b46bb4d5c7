"""Reactor: the main thread only polls for readiness; a thread pool reads, handles and writes.

EPOLLONESHOT gives a connection to one thread at a time. Once the kernel has reported a connection,
it does not poll it until its thread rearms it, as the last thing it does. Without that flag the
kernel would report the same bytes again before they are read, and a second thread would process
the connection at the same time as the first.
"""

import os
import select
import threading
from contextlib import suppress
from functools import partial
from typing import Any

from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.transport.connection_limiter import process_limits
from aserve.transport.observers import ResponseObserver
from aserve.transport.run_loop import PollingLoop
from aserve.transport.socket_connection import SocketConnection
from aserve.transport.thread_safety import thread_safe_context
from aserve.transport.worker_threads import WorkerThreads

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
        "is_writable",
        "lock",
    )

    def __init__(self, connection: SocketConnection) -> None:
        self.connection = connection
        self.descriptor = connection.socket.fileno()  # which a closed socket does not tell
        self.is_owned = True  # until it is polled for the first time
        self.is_registered = False
        self.is_writable = False  # and not readable, as last reported
        self.is_tick_due = False  # a second has passed
        self.is_closing = False  # close_after_response was called
        self.lock = threading.Lock()

    def tick_if_due(self) -> None:
        """Check the deadlines of the connection, on the thread that owns it."""
        if self.is_tick_due and not self.connection.is_closed:
            self.is_tick_due = False
            self.connection.tick()


class ReactorServer(PollingLoop):
    """Polls on one thread, and does everything else on a thread pool."""

    oneshot_flag = select.EPOLLONESHOT

    def __init__(  # noqa: PLR0913, PLR0917 - the settings that its row in the registry names
        self,
        site: Site,
        limits: Limits,
        observer: ResponseObserver | None = None,
        threads: int = 8,
        dispatch: str = "queue",
        queue: int = 1_024,
    ) -> None:
        super().__init__(thread_safe_context(site, limits, observer, process_limits(limits)))
        self._workers: WorkerThreads[Any] = WorkerThreads(threads, dispatch, self._process, queue)
        self._epoll = select.epoll()
        self._registrations: dict[Registration, None] = {}
        self._by_fd: dict[int, Registration] = {}
        self._all_closed = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    # On the main thread.

    def _start(self) -> None:
        drain = partial(os.eventfd_read, self._all_closed)
        self._call_when_readable(self._all_closed, drain)

    def _run_once(self, timeout: float) -> None:
        """Submit each ready connection to the pool, then handle the server's own descriptors.

        In this order, so that a connection that is claimed has no event in this batch.
        """
        ready = self._epoll.poll(timeout)
        for descriptor, event in ready:
            if registration := self._by_fd.get(descriptor):
                registration.is_owned, registration.is_writable = True, event == select.EPOLLOUT
                self._submit_or_reject(registration)
        for descriptor, _ in ready:
            if callback := self._callbacks.get(descriptor):
                callback()

    def _submit_or_reject(self, registration: Registration) -> None:
        """Submit a connection, or answer 503 at once if its request would be one too many to wait.

        A response that has begun is continued: there are not more of those than connections.
        """
        connection = registration.connection
        if self._workers.is_full and connection.is_receiving and not connection.wants_turn:
            connection.reject(503, "Too many requests are waiting. Try again in a moment.")
            self._release(registration)
        else:
            self._workers.submit(registration)

    def _poll_for_reading(self, descriptor: int) -> None:
        self._epoll.register(descriptor, select.EPOLLIN)

    def _stop_polling(self, descriptor: int) -> None:
        self._epoll.unregister(descriptor)

    def _add_connection(self, connection: SocketConnection) -> None:
        registration = Registration(connection)
        self._registrations[registration] = None
        self._by_fd[registration.descriptor] = registration
        self._release(registration)

    def _claim(self, registration: Registration) -> None:
        """Submit a connection that no thread owns: only its own thread may change it."""
        if self._take_ownership(registration):
            self._workers.submit(registration)

    def _take_ownership(self, registration: Registration) -> bool:
        """Poll a connection no longer, and own it; return False if a thread owns it already."""
        with registration.lock:
            if registration.is_owned:
                return False
            registration.is_owned, registration.is_registered = True, False
            with suppress(OSError):  # it is closed
                # No event mask excludes EPOLLHUP: epoll_ctl(2).
                self._epoll.unregister(registration.descriptor)
        return True

    def _tick(self) -> None:
        for registration in list(self._registrations):
            registration.is_tick_due = True
            self._claim(registration)
        super()._tick()

    def _close_connections(self) -> int:
        for registration in list(self._registrations):
            self._claim(registration)
        return 0

    def _is_idle(self) -> bool:
        return not self._registrations

    def _shutdown(self) -> None:
        self._workers.shutdown()
        for registration in list(self._registrations):
            registration.connection.abort()
        self._epoll.close()
        os.close(self._all_closed)

    # On the pool, each registration on one thread at a time.

    def _process(self, registration: Registration) -> None:
        """Process a connection as far as possible without waiting."""
        connection = registration.connection
        for _ in range(_MAX_TURNS):
            if not connection.process_ready() or connection.wants_turn:
                break
        registration.tick_if_due()
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
