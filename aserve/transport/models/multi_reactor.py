"""Main reactor and sub-reactors: one thread accepts, and each other thread polls its own sockets.

The commonest design in practice, also called one loop per thread. A connection stays with the
thread that it was given to, so that it needs neither a lock nor EPOLLONESHOT. In Python, threads
take turns with the interpreter, and so processes are the better way to use more than one CPU.
"""

import os
import socket
import threading
from collections.abc import Callable
from functools import partial
from itertools import cycle

from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.transport.connection_context import ConnectionContext
from aserve.transport.connection_limiter import process_limits
from aserve.transport.models.epoll import EpollPoller
from aserve.transport.multiplexing import MultiplexingLoop
from aserve.transport.observers import ResponseObserver
from aserve.transport.processes import RETIRE
from aserve.transport.run_loop import PollingLoop
from aserve.transport.socket_connection import SocketConnection
from aserve.transport.strand import Inbox
from aserve.transport.thread_safety import thread_safe_context


class SubReactor(MultiplexingLoop):
    """The loop of one thread: it polls the connections that the main reactor gives it.

    on_end: called on its thread, as the last thing.
    """

    def __init__(
        self, name: str, context: ConnectionContext, grace: float, on_end: Callable[[], None]
    ) -> None:
        super().__init__(EpollPoller(), context)
        self._inbox = Inbox()
        self._control_read, self._control_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._on_end, self._has_ended = on_end, False
        self._thread = threading.Thread(target=self._serve, args=(grace,), name=name, daemon=True)

    # On the main reactor's thread.

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, sock: socket.socket, client: str) -> None:
        """Give it a client that was accepted."""
        self._inbox.post(partial(self._open_connection, sock, client))

    def stop(self) -> None:
        """Stop gracefully; at once, the second time."""
        os.write(self._control_write, b"x")

    def retire(self) -> None:
        """End with the last connection: no further one will come."""
        os.write(self._control_write, bytes((RETIRE,)))

    @property
    def is_running(self) -> bool:
        """Whether its thread still serves."""
        return not self._has_ended

    def join(self) -> None:
        """Wait for the end of its thread, and close its descriptors."""
        self._thread.join()
        for descriptor in (self._control_read, self._control_write):
            os.close(descriptor)

    # On its own thread.

    def _serve(self, grace: float) -> None:
        try:
            self.run((), (self._control_read,), grace)
        finally:
            self._has_ended = True
            self._on_end()

    def _start(self) -> None:
        self._call_when_readable(self._inbox.fileno(), self._inbox.read)

    def _is_idle(self) -> bool:
        return super()._is_idle() and self._inbox.is_empty

    def _shutdown(self) -> None:
        self._inbox.make_calls()  # so that the last clients are closed with all others
        super()._shutdown()


class MultiReactorServer(PollingLoop):
    """Accepts on one thread, and gives each connection to one of the sub-reactors in turn."""

    def __init__(
        self,
        site: Site,
        limits: Limits,
        observer: ResponseObserver | None = None,
        threads: int = 8,
    ) -> None:
        super().__init__(thread_safe_context(site, limits, observer, process_limits(limits)))
        self._poller = EpollPoller()
        self._thread_count = threads
        self._sub_reactors: list[SubReactor] = []

    def _start(self) -> None:
        self._thread_ended = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            for number in range(self._thread_count):
                self._start_sub_reactor(f"sub-reactor-{number}")
        except BaseException:  # RuntimeError: the system has no more threads
            self._shutdown()
            raise
        self._next_sub_reactor = cycle(self._sub_reactors)

    def _start_sub_reactor(self, name: str) -> None:
        on_end = partial(os.eventfd_write, self._thread_ended, 1)
        one = SubReactor(name, self._context, self._grace, on_end)
        one.start()
        self._sub_reactors.append(one)

    def _run_once(self, timeout: float) -> None:
        for descriptor, _ in self._poller.poll(timeout):
            if callback := self._callbacks.get(descriptor):
                callback()

    def _poll_for_reading(self, descriptor: int) -> None:
        self._poller.register(descriptor, readable=True, writable=False)

    def _stop_polling(self, descriptor: int) -> None:
        self._poller.unregister(descriptor)

    def _open_connection(self, sock: socket.socket, client: str) -> None:
        """Give a client that was accepted to the next sub-reactor."""
        next(self._next_sub_reactor).submit(sock, client)

    def _add_connection(self, connection: SocketConnection) -> None:
        raise NotImplementedError  # the sub-reactors make the connections

    def _retire(self) -> None:
        super()._retire()
        for one in self._sub_reactors:
            one.retire()

    def _close_connections(self) -> int:
        """Stop the sub-reactors; each closes its own connections."""
        drain = partial(os.eventfd_read, self._thread_ended)
        self._call_when_readable(self._thread_ended, drain)
        for one in self._sub_reactors:
            one.stop()
        return 0

    def _is_idle(self) -> bool:
        return not any(one.is_running for one in self._sub_reactors)

    def _shutdown(self) -> None:
        for one in self._sub_reactors:
            one.stop()  # at once, if it is still stopping
            one.stop()
        for one in self._sub_reactors:
            one.join()
        os.close(self._thread_ended)
        self._callbacks.clear()  # they refer to the server, which would keep its poller open
