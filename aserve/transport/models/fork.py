"""Fork per client: the parent accepts and forks; the child serves its client and ends.

A child that crashes takes one client along and nothing else: no other model isolates clients like
that. It costs a fork for each connection, and a process for each client that is idle.

A process that forks must have no other threads: a child has copies of the locks that they hold, and
nothing that would release them. So this server has a process for itself, and its log another one.
"""

import logging
import mmap
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from aserve.http.messages import Request
from aserve.http1.limits import Limits
from aserve.linux.signalfd import SignalFd
from aserve.policies.site import Site
from aserve.transport.blocking_calls import serve_until_closed
from aserve.transport.connection_context import ConnectionContext
from aserve.transport.connection_limiter import process_limits
from aserve.transport.delegating import DelegatingLoop
from aserve.transport.internal_errors import describe_exception
from aserve.transport.observers import ResponseObserver, SignalledObserver
from aserve.transport.processes import RETIRE, describe_exit
from aserve.transport.socket_connection import SocketConnection

Renew = Callable[[], tuple[Site, Limits] | None]

_MAX_CHILDREN = 256
_STOP, _STOP_NOW = signal.SIGTERM, signal.SIGUSR2
_ORDERS = {_STOP, _STOP_NOW, RETIRE}
_LAST_WAIT_S = 1.0  # for children that stop at once, and have a last line for the log
_NO_PROCESS = "The server can start no more processes. Try again in a moment."

_logger = logging.getLogger("aserve")


class Child(NamedTuple):
    """A child process: the parent's record of its connection, and its place in what they share."""

    connection: SocketConnection
    place: int


class ChildConnection(SocketConnection):
    """The connection of a child, which tells its parent whether a response is under way."""

    def __init__(
        self,
        accepted: SocketConnection,
        context: "ChildContext",
        responding: mmap.mmap,
        place: int,
    ) -> None:
        self._responding, self._place, self._refresh = responding, place, context.refresh
        super().__init__(accepted.socket, accepted.peer, context)

    def _process_requests(self) -> None:
        if self._is_between_requests:
            self._refresh()
        super()._process_requests()

    def _begin(self, request: Request) -> None:
        self._responding[self._place] = True
        super()._begin(request)

    def _response_sent(self, status: int, body_size: int) -> None:
        super()._response_sent(status, body_size)
        self._responding[self._place] = False


class ChildContext(ConnectionContext):
    """The context of a child. What a reload has made is not in its memory: it makes it itself.

    renew: returns the site and the limits of the latest reload that this process does not know.
    """

    def __init__(self, shared: ConnectionContext, renew: Renew | None) -> None:
        bounds = process_limits(shared.limits, threads=1)
        super().__init__(shared.site, shared.limits, shared.observer, bounds)
        self.proxy_protocol = shared.proxy_protocol
        self._renew = renew

    def refresh(self) -> None:
        """Make what the latest reload asks for, if that is not known yet."""
        if self._renew and (renewed := self._renew()):
            self.replace(*renewed)


class ForkServer(DelegatingLoop):
    """Accepts in one process and serves each connection in a child of its own.

    observer: is called in the children, too.
    """

    renew: Renew | None = None
    """What children call to follow a reload."""

    def __init__(
        self, site: Site, limits: Limits, observer: ResponseObserver | None = None
    ) -> None:
        bounds = process_limits(limits, threads=_MAX_CHILDREN)
        super().__init__(ConnectionContext(site, limits, observer, bounds))
        self._children: dict[int, Child] = {}  # by process id
        self._responding = mmap.mmap(-1, bounds.connections)  # of each child, in its place
        self._free_places = list(range(bounds.connections))
        self._pid = os.getpid()

    # In the parent.

    def _start(self) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # one that is ignored is not sent
        observer = self._context.observer
        signals = observer.signals if isinstance(observer, SignalledObserver) else frozenset()
        self._signals = SignalFd({signal.SIGCHLD, *signals})
        self._call_when_readable(self._signals.fileno(), self._read_signals)

    def _read_signals(self, timeout: float = 0) -> None:
        for number, *_ in self._signals.read(timeout):
            if number == signal.SIGCHLD:
                self._reap()
            elif isinstance(self._context.observer, SignalledObserver):
                self._context.observer.on_signal(number)

    def _reap(self) -> None:
        """Collect every child that has ended: one signal may stand for several."""
        with suppress(ChildProcessError):  # there are no children left
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                code = os.waitstatus_to_exitcode(status)
                if child := self._children.pop(pid, None):
                    self._release(child)
                    self._log_failure(pid, child, code)
                elif isinstance(self._context.observer, SignalledObserver):
                    self._context.observer.on_exit(pid, describe_exit(code))

    def _release(self, child: Child) -> None:
        """Make room for another client."""
        self._responding[child.place] = False
        self._free_places.append(child.place)
        child.connection.abort()

    def _log_failure(self, pid: int, child: Child, code: int) -> None:
        if code:
            client, ended = child.connection.peer, describe_exit(code)
            _logger.error("child %d, which served %s, ended with %s", pid, client, ended)

    def _delegate(self, connection: SocketConnection) -> None:
        """Fork a child for a connection; the client gets 503 if that is not possible."""
        child = Child(connection, self._free_places.pop())
        # Blocked: the child has no handlers yet, and would miss an order to stop.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _ORDERS)
        try:
            pid = os.fork()
        except OSError:
            self._free_places.append(child.place)
            connection.reject(503, _NO_PROCESS)
            self._wait_for_end(connection)
            return
        finally:
            if os.getpid() == self._pid:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if not pid:
            os._exit(self._run_child(child))
        self._children[pid] = child
        connection.socket.close()  # this copy of it

    def call_when_readable(self, descriptor: int, callback: Callable[[], object]) -> None:
        """Have a function called on this thread when a descriptor is readable."""
        self._call_when_readable(descriptor, callback)

    def _count_responses(self) -> int:
        return sum(self._responding[child.place] for child in self._children.values())

    def _close_connections(self) -> int:
        """Tell the children, each of which closes its own connection."""
        self._signal_children(_STOP)
        return 0

    def _retire(self) -> None:
        super()._retire()
        self._signal_children(RETIRE)

    def _signal_children(self, number: int) -> None:
        for pid in self._children:
            os.kill(pid, number)

    def _is_idle(self) -> bool:
        return not self._children

    def _shutdown(self) -> None:
        super()._shutdown()
        self._signal_children(_STOP_NOW)
        deadline = time.monotonic() + _LAST_WAIT_S
        while self._children and (left := deadline - time.monotonic()) > 0:
            self._read_signals(left)
        self._signal_children(signal.SIGKILL)
        for pid, child in self._children.items():
            os.waitpid(pid, 0)
            self._release(child)
        self._children.clear()

    # In a child.

    def _run_child(self, child: Child) -> int:
        """Serve one connection; return the exit code."""
        try:
            self._close_inherited()
            serve_until_closed(self._connect_child(child), self._is_child_stopping)
        except BaseException as error:  # noqa: BLE001 - a child must not run the code of its parent
            _logger.error("child %d: %s", os.getpid(), describe_exception(error))
            return 1
        return 0

    def _close_inherited(self) -> None:
        """Close what is the parent's: its listeners, its signals, and its other connections."""
        wakeup_fd = signal.set_wakeup_fd(-1)
        for descriptor in (*self._callbacks, wakeup_fd):
            with suppress(OSError):  # there is no such descriptor
                os.close(descriptor)

    def _connect_child(self, child: Child) -> ChildConnection:
        """Return a connection with limits of its own: those of the parent count all clients."""
        shared = self._latest_context()
        context = ChildContext(shared, self.renew)
        connection = ChildConnection(child.connection, context, self._responding, child.place)

        def stop(number: int, _frame: object) -> None:
            self._stopping = True
            connection.interrupt()
            if number == _STOP_NOW:  # a send that waits fails, and is logged as cut
                with suppress(OSError):  # the client has gone
                    connection.socket.shutdown(socket.SHUT_RDWR)

        for number in (_STOP, _STOP_NOW):
            signal.signal(number, stop)
        signal.signal(RETIRE, lambda *_: connection.close_after_next_response())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ORDERS)
        return connection

    def _is_child_stopping(self) -> bool:
        return self._stopping or os.getppid() != self._pid  # the parent has died
