"""A main thread that polls, and itself serves the connections that get only a 503."""

import select
from functools import partial

from aserve.transport.connection_context import ConnectionContext
from aserve.transport.run_loop import PollingLoop
from aserve.transport.socket_connection import SocketConnection


class RejectingLoop(PollingLoop):
    """Waits in poll(2), for models in which each connection has something of its own.

    A rejected connection has its 503, and gets nothing: it is read here to its end.
    """

    def __init__(self, context: ConnectionContext) -> None:
        super().__init__(context)
        self._rejected: dict[SocketConnection, int] = {}  # and their descriptors
        self._poll = select.poll()

    def _run_once(self, timeout: float) -> None:
        for descriptor, _ in self._poll.poll(timeout * 1_000):
            if callback := self._callbacks.get(descriptor):
                callback()

    def _poll_for_reading(self, descriptor: int) -> None:
        self._poll.register(descriptor, select.POLLIN)

    def _stop_polling(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)

    def _wait_for_end(self, connection: SocketConnection) -> None:
        """Read a rejected connection to its end."""
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

    def _abort_rejected(self) -> None:
        for connection in list(self._rejected):
            connection.abort()
            self._remove_if_closed(connection)
