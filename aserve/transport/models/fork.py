"""Fork per client: the parent accepts and forks; the child serves its client and ends.

A child that crashes takes one client along and nothing else: no other model isolates clients like
that. It costs a fork for each connection, and a process for each client that is idle.

A process that forks must have no other threads: a child has copies of the locks that they hold, and
nothing that would release them. So this server has a process for itself, and its log another one.
"""

import logging
import os
import signal
import threading
from contextlib import suppress

from aserve.http1.limits import Limits
from aserve.linux.signalfd import SignalFd
from aserve.policies.site import Site
from aserve.transport.blocking_calls import serve_until_closed
from aserve.transport.connection_context import ConnectionContext
from aserve.transport.connection_limiter import process_limits
from aserve.transport.delegating import DelegatingLoop
from aserve.transport.internal_errors import describe_exception
from aserve.transport.observers import ResponseObserver, SignalledObserver
from aserve.transport.processes import describe_exit
from aserve.transport.socket_connection import SocketConnection

_MAX_CHILDREN = 256
_STOP_CHILD = signal.SIGTERM
_NO_PROCESS = "The server can start no more processes. Try again in a moment."

_logger = logging.getLogger("aserve")


class ForkServer(DelegatingLoop):
    """Accepts in one process and serves each connection in a child of its own.

    observer: is called in the children, too.
    """

    def __init__(
        self, site: Site, limits: Limits, observer: ResponseObserver | None = None
    ) -> None:
        bounds = process_limits(limits, threads=_MAX_CHILDREN)
        super().__init__(ConnectionContext(site, limits, observer, bounds))
        self._children: dict[int, SocketConnection] = {}  # by process id
        self._pid = os.getpid()

    # In the parent.

    def _start(self) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # one that is ignored is not sent
        observer = self._context.observer
        signals = observer.signals if isinstance(observer, SignalledObserver) else frozenset()
        self._signals = SignalFd({signal.SIGCHLD, *signals})
        self._call_when_readable(self._signals.fileno(), self._read_signals)

    def _read_signals(self) -> None:
        for number, _ in self._signals.read(0):
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
                self._on_child_ended(pid, os.waitstatus_to_exitcode(status))

    def _on_child_ended(self, pid: int, code: int) -> None:
        connection = self._children.pop(pid, None)
        if not connection:  # the process of the log, which says itself what is wrong
            return
        connection.abort()  # which makes room for another one
        if code:
            client, ended = connection.client, describe_exit(code)
            _logger.error("child %d, which served %s, ended with %s", pid, client, ended)

    def _delegate(self, connection: SocketConnection) -> None:
        """Fork a child for a connection; the client gets 503 if that is not possible."""
        # Blocked: the child has no handler yet, and would miss an order to stop.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {_STOP_CHILD})
        try:
            pid = os.fork()
        except OSError:
            connection.reject(503, _NO_PROCESS)
            self._wait_for_end(connection)
            return
        finally:
            if os.getpid() == self._pid:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if not pid:
            os._exit(self._run_child(connection))
        self._children[pid] = connection
        connection.socket.close()  # this copy of it

    def _close_connections(self) -> int:
        """Tell the children, each of which closes its own connection."""
        for pid in self._children:
            os.kill(pid, _STOP_CHILD)
        return 0

    def _is_idle(self) -> bool:
        return not self._children

    def _shutdown(self) -> None:
        super()._shutdown()
        for pid, connection in self._children.items():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            connection.abort()
        self._children.clear()

    # In the child of a connection.

    def _run_child(self, accepted: SocketConnection) -> int:
        """Serve one connection; return the exit code."""
        try:
            self._close_inherited()
            connection = self._connection_of_child(accepted)
            self._stop_on_signal(connection)
            serve_until_closed(connection, self._is_child_stopping)
        except BaseException as error:  # noqa: BLE001 - a child must not run the code of its parent
            _logger.error("child %d: %s", os.getpid(), describe_exception(error))
            return 1
        return 0

    def _close_inherited(self) -> None:
        """Close what is the parent's: its listeners, its signals, and its other connections."""
        threading.current_thread().name = "child"
        wakeup_fd = signal.set_wakeup_fd(-1)
        for descriptor in (*self._callbacks, wakeup_fd):
            with suppress(OSError):  # it is paused, or there is none
                os.close(descriptor)
        for connection in self._rejected:
            connection.socket.detach()

    def _connection_of_child(self, accepted: SocketConnection) -> SocketConnection:
        """Return a connection with limits of its own: those of the parent count all clients."""
        shared = self._context
        bounds = process_limits(shared.limits, threads=1)
        context = ConnectionContext(shared.site, shared.limits, shared.observer, bounds)
        return SocketConnection(accepted.socket, accepted.client, context)

    def _stop_on_signal(self, connection: SocketConnection) -> None:
        def stop(*_: object) -> None:
            self._stopping = True
            connection.interrupt()

        signal.signal(_STOP_CHILD, stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {_STOP_CHILD})

    def _is_child_stopping(self) -> bool:
        return self._stopping or os.getppid() != self._pid  # the parent has died
