"""A main thread that polls, and itself serves the connections that get only a 503."""

from functools import partial

from aserve.transport.connection_context import ConnectionContext
from aserve.transport.run_loop import PollLoop
from aserve.transport.socket_connection import SocketConnection


class RejectingLoop(PollLoop):
    """For models in which each connection has something of its own, as a thread.

    A rejected connection has its 503, and gets nothing: it is read here to its end.
    """

    def __init__(self, context: ConnectionContext) -> None:
        super().__init__(context)
        self._rejected: dict[SocketConnection, int] = {}  # and their descriptors

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
