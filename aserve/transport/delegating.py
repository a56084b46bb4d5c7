"""A server that accepts on one thread, and has each connection served by something of its own."""

import select
from abc import abstractmethod
from functools import partial

from aserve.transport.connection_context import ConnectionContext
from aserve.transport.run_loop import PollingLoop
from aserve.transport.socket_connection import SocketConnection


class DelegatingLoop(PollingLoop):
    """Accepts, and delegates each connection. One that is over the limit gets its 503 here."""

    def __init__(self, context: ConnectionContext) -> None:
        super().__init__(context)
        self._rejected: dict[SocketConnection, int] = {}  # and their descriptors
        self._poll = select.poll()  # for clients, and for signals

    @abstractmethod
    def _delegate(self, connection: SocketConnection) -> None:
        """Have a connection served elsewhere. What this raises closes it."""

    def _run_once(self, timeout: float) -> None:
        for descriptor, _ in self._poll.poll(timeout * 1_000):
            if callback := self._callbacks.get(descriptor):
                callback()

    def _poll_for_reading(self, descriptor: int) -> None:
        self._poll.register(descriptor, select.POLLIN)

    def _stop_polling(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)

    def _add_connection(self, connection: SocketConnection) -> None:
        """Delegate a connection, unless it was rejected."""
        if not connection.is_receiving:
            self._wait_for_end(connection)
            return
        try:
            self._delegate(connection)
        except Exception as error:  # noqa: BLE001 - it ends this connection alone
            connection.fail(error)
            connection.abort()

    def _wait_for_end(self, connection: SocketConnection) -> None:
        """Read a rejected connection to its end: it has its 503."""
        descriptor = connection.socket.fileno()
        self._rejected[connection] = descriptor
        self._call_when_readable(descriptor, partial(self._process_rejected, connection))

    def _process_rejected(self, connection: SocketConnection) -> None:
        connection.process_ready()
        self._remove_if_closed(connection)

    def _remove_if_closed(self, connection: SocketConnection) -> None:
        if connection.is_closed:
            descriptor = self._rejected.pop(connection)
            del self._callbacks[descriptor]
            self._stop_polling(descriptor)

    def _tick(self) -> None:
        for connection in list(self._rejected):
            connection.tick()
            self._remove_if_closed(connection)
        super()._tick()

    def _shutdown(self) -> None:
        for connection in list(self._rejected):
            connection.abort()
            self._remove_if_closed(connection)
