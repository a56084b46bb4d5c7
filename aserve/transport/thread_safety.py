"""Locks around what the threads of a server share."""

import threading

from aserve.http.messages import Request
from aserve.transport.connection_limiter import ConnectionLimiter, Decision, ProcessLimits
from aserve.transport.eventloop.connection_host import ResponseObserver
from aserve.transport.socket_connection import SocketConnection


class LockedConnectionLimiter(ConnectionLimiter[SocketConnection]):
    """A ConnectionLimiter that several threads may use."""

    def __init__(self, limits: ProcessLimits) -> None:
        super().__init__(limits)
        self._lock = threading.RLock()

    def admit(self, connection: SocketConnection) -> Decision:
        """Count a new connection and decide whether it is accepted."""
        with self._lock:
            return super().admit(connection)

    def reserve_descriptors(self, connection: SocketConnection, descriptors: int) -> bool:
        """Count descriptors that a connection needs besides its own; False if there are too few."""
        with self._lock:
            return super().reserve_descriptors(connection, descriptors)

    def release_descriptors(self, connection: SocketConnection) -> None:
        """Release the descriptors that a connection had reserved."""
        with self._lock:
            super().release_descriptors(connection)

    def remove(self, connection: SocketConnection) -> None:
        """Remove a closed connection. Calling it again has no effect."""
        with self._lock:
            super().remove(connection)


def serialize_calls(observer: ResponseObserver | None) -> ResponseObserver | None:
    """Return an observer that is called by one thread at a time: the log has no locks."""
    if not observer:
        return None
    lock, observe = threading.Lock(), observer

    def locked(  # noqa: PLR0913, PLR0917 - as ResponseObserver
        client: str,
        request: Request,
        status: int,
        body_size: int,
        started_at: float,
        truncated: bool = False,
    ) -> None:
        with lock:
            observe(client, request, status, body_size, started_at, truncated)

    return locked
