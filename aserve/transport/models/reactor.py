"""Reactor: the main thread watches for readiness only; threads of a pool read, answer and write.

EPOLLONESHOT gives a connection to one thread at a time. Once told of, it is watched no more, until
its thread is done with it and asks anew, as the last thing it does. Without that flag the kernel
would tell of the same octets again before they are read, and a second thread would be in the
middle of the first one's conversation.
"""

import os
import select
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from aserve.handlers.static_site import StaticSite
from aserve.http1.limits import Limits
from aserve.transport.connection_limiter import RESOURCE_ERRNOS, process_limits
from aserve.transport.eventloop.connection_host import ReportRemaining, ResponseObserver
from aserve.transport.internal_errors import log_internal_error
from aserve.transport.socket_connection import ConnectionContext, SocketConnection
from aserve.transport.thread_safety import LockedConnectionLimiter, serialize_calls
from aserve.transport.worker_threads import WorkerThreads

_MAX_ACCEPTS = 64  # connections in one turn, before those that are open have theirs
_MAX_TURNS = 16  # of one connection in a row: then it lines up again behind the others


class Registration:
    """One connection, and whether a thread has it. The lock is for the moment it is given back."""

    __slots__ = (
        "connection",
        "descriptor",
        "is_closing",
        "is_owned",
        "is_registered",
        "is_tick_due",
        "lock",
    )

    def __init__(self, talk: SocketConnection) -> None:
        self.connection = talk
        self.descriptor = talk.socket.fileno()  # which is not known any more when it is closed
        self.is_owned = True  # until it is watched for the first time
        self.is_registered = False
        self.is_tick_due = False  # a second has passed, in which it was idle
        self.is_closing = False  # that the server stops
        self.lock = threading.Lock()


class ReactorServer:
    """One thread that watches, and a crew that does everything else."""

    oneshot_flag = select.EPOLLONESHOT

    def __init__(
        self,
        site: StaticSite,
        limits: Limits,
        observe: ResponseObserver | None = None,
        threads: int = 8,
        dispatch: str = "queue",
    ) -> None:
        bounds = process_limits(limits)
        self._context = ConnectionContext(site, limits, serialize_calls(observe), bounds)
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
        """Serve until an octet, or the end, arrives at one of orders; a second one ends at once.

        grace: seconds that replies under way get after the first; tell: is told of them.
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
        """Hand each connection that is ready to the crew, then see to the rest.

        In this order: whoever is visited has no event among those which were just fetched.
        """
        for descriptor in ready:
            if seat := self._by_fd.get(descriptor):
                seat.is_owned = True
                self._workers.submit(seat)
        for descriptor in ready:
            if descriptor in self._control_fds:
                self._handle_control(descriptor)
            elif listener := self._listeners.get(descriptor):
                self._accept(listener)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_MAX_ACCEPTS):
            try:
                connection, address = listener.accept()
            except OSError as error:
                if error.errno in RESOURCE_ERRNOS:
                    return  # not watched any more until the next tick: it would be told of at once
                break  # nobody waits, or whoever did has gone
            client = address[0] if isinstance(address, tuple) else "-"
            try:
                talk = SocketConnection(connection, client, self._context)
            except Exception as error:  # noqa: BLE001 - it ends this connection alone
                log_internal_error(error, client)
                connection.close()
                continue
            if not talk.is_closed:
                seat = Registration(talk)
                self._registrations[seat] = None
                self._by_fd[seat.descriptor] = seat
                self._release(seat)
        self._epoll.modify(listener, select.EPOLLIN | select.EPOLLONESHOT)

    # By the crew, each seat by one thread at a time.

    def _process(self, seat: Registration) -> None:
        """Take a connection as far as it goes without waiting."""
        talk = seat.connection
        for _ in range(_MAX_TURNS):
            if not talk.process_ready() or talk.wants_turn:
                break
        if seat.is_tick_due and not talk.is_closed:
            seat.is_tick_due = False
            talk.tick()
        self._release(seat)

    def _release(self, seat: Registration) -> None:
        """Have a connection watched again, after which it may be any other thread's."""
        talk = seat.connection
        if self._stopping and not seat.is_closing and not talk.is_closed:
            seat.is_closing = True
            talk.close_after_response()
        if not talk.is_closed:
            try:
                self._rearm(seat)
            except Exception as error:  # noqa: BLE001 - as when the kernel can watch no more
                talk.fail(error)
                talk.abort()
        if talk.is_closed:
            self._remove(seat)

    def _rearm(self, seat: Registration) -> None:
        talk = seat.connection
        # What is due for another turn, has it when its socket takes octets: at once, as a rule.
        writes = talk.wants_write or talk.wants_turn
        events = self.oneshot_flag | talk.wants_read * select.EPOLLIN | writes * select.EPOLLOUT
        with seat.lock:
            seat.is_owned = False
            watch = self._epoll.modify if seat.is_registered else self._epoll.register
            seat.is_registered = True
            try:
                watch(seat.descriptor, events)
            except Exception:
                seat.is_owned = True  # it stays with this thread, which ends it
                raise

    def _remove(self, seat: Registration) -> None:
        """Forget a connection that is over. Its number may be another's by now."""
        self._registrations.pop(seat, None)
        if self._stopping and not self._registrations:
            os.eventfd_write(self._all_closed, 1)

    # By the main thread.

    def _claim(self, seat: Registration) -> None:
        """Have a connection looked after that nobody has: what happens to it is its thread's."""
        with seat.lock:
            if seat.is_owned:
                return
            seat.is_owned, seat.is_registered = True, False
            with suppress(OSError):
                # No mask keeps EPOLLHUP away, epoll_ctl(2).
                self._epoll.unregister(seat.descriptor)
        self._workers.submit(seat)

    def _tick(self) -> None:
        for seat in list(self._registrations):
            seat.is_tick_due = True
            self._claim(seat)
        for listener in self._listeners:
            self._epoll.modify(listener, select.EPOLLIN | select.EPOLLONESHOT)

    def _handle_control(self, order: int) -> None:
        if not os.read(order, 1):
            self._epoll.unregister(order)  # whoever gave orders is gone: that is one, too
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
        if self._report_remaining:  # those that are idle will go, each by its thread
            self._report_remaining(self._context.active_responses, 0)
        for seat in list(self._registrations):
            self._claim(seat)

    def _poll_timeout(self) -> float:
        return max(0.0, min(1.0, self._deadline - time.monotonic()))

    def _is_finished(self) -> bool:
        return self._stopping and (not self._registrations or time.monotonic() >= self._deadline)

    def _shutdown(self) -> None:
        self._workers.shutdown()
        for seat in list(self._registrations):
            seat.connection.abort()
        self._epoll.close()
        os.close(self._all_closed)
