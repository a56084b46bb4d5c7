"""A server that accepts on one thread, and has each connection served by something of its own."""

from abc import abstractmethod

from aserve.transport.rejecting import RejectingLoop
from aserve.transport.socket_connection import SocketConnection


class DelegatingLoop(RejectingLoop):
    """Accepts, and delegates each connection. One that is over the limit gets its 503 here."""

    @abstractmethod
    def _delegate(self, connection: SocketConnection) -> None:
        """Have a connection served elsewhere. What this raises closes it."""

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

    def _shutdown(self) -> None:
        self._abort_rejected()
