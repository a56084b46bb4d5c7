"""What many threads share, and use one at a time."""

import threading

from aserve.http.messages import Request
from aserve.transport.connection_limiter import ConnectionLimiter, Decision, ProcessLimits
from aserve.transport.eventloop.connection_host import ResponseObserver
from aserve.transport.socket_connection import SocketConnection


class LockedConnectionLimiter(ConnectionLimiter[SocketConnection]):
    """Admissions for many threads."""

    def __init__(self, bounds: ProcessLimits) -> None:
        super().__init__(bounds)
        self._lock = threading.RLock()

    def admit(self, connection: SocketConnection) -> Decision:
        """Take a connection into account, or tell that it is one too many."""
        with self._lock:
            return super().admit(connection)

    def reserve_descriptors(self, connection: SocketConnection, descriptors: int) -> bool:
        """Take descriptors into account that a connection holds beside its own, if they fit."""
        with self._lock:
            return super().reserve_descriptors(connection, descriptors)

    def release_descriptors(self, connection: SocketConnection) -> None:
        """Note that a connection holds no descriptor any more beside its own."""
        with self._lock:
            super().release_descriptors(connection)

    def remove(self, connection: SocketConnection) -> None:
        """Drop a connection that is gone; more than once is harmless."""
        with self._lock:
            super().remove(connection)


def serialize_calls(observer: ResponseObserver | None) -> ResponseObserver | None:
    """Tell by one thread at a time: the log's counters are made for no more."""
    if not observer:
        return None
    lock, tell = threading.Lock(), observer

    def locked(  # noqa: PLR0913, PLR0917 - Observe
        client: str,
        request: Request,
        status: int,
        octets: int,
        began: float,
        cut: bool = False,
    ) -> None:
        with lock:
            tell(client, request, status, octets, began, cut)

    return locked
