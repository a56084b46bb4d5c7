"""Locks around what the threads of a server share."""

import threading
from collections.abc import Callable
from typing import Any

from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.transport.connection_context import ConnectionContext
from aserve.transport.connection_limiter import (
    ConnectionLimiter,
    Decision,
    EvictableFiles,
    ProcessLimits,
)
from aserve.transport.observers import ResponseObserver
from aserve.transport.server_connection import ServerConnection


class LockedConnectionLimiter(ConnectionLimiter[ServerConnection]):
    """A ConnectionLimiter that several threads may use."""

    def __init__(self, limits: ProcessLimits) -> None:
        self._lock = threading.RLock()
        super().__init__(limits)

    def change_limits(
        self, limits: ProcessLimits, open_files: EvictableFiles | None = None
    ) -> None:
        """Apply other limits from now on. Connections that are open stay, and are counted."""
        with self._lock:
            super().change_limits(limits, open_files)

    def admit(self, connection: ServerConnection) -> Decision:
        """Count a new connection and decide whether it is accepted."""
        with self._lock:
            return super().admit(connection)

    def recount(self, connection: ServerConnection, name_client: Callable[[], None]) -> Decision:
        """Count a connection as that of another peer; decide whether it is still accepted."""
        with self._lock:
            return super().recount(connection, name_client)

    def reserve_descriptors(self, connection: ServerConnection, descriptors: int) -> bool:
        """Count descriptors that a connection needs besides its own; False if there are too few."""
        with self._lock:
            return super().reserve_descriptors(connection, descriptors)

    def release_descriptors(self, connection: ServerConnection) -> None:
        """Release the descriptors that a connection had reserved."""
        with self._lock:
            super().release_descriptors(connection)

    def remove(self, connection: ServerConnection) -> None:
        """Remove a closed connection. Calling it again has no effect."""
        with self._lock:
            super().remove(connection)


def thread_safe_context(
    site: Site,
    limits: Limits,
    observer: ResponseObserver | None,
    process_limits: ProcessLimits,
) -> ConnectionContext:
    """Return a context whose connections may be on several threads."""
    context = ConnectionContext(site, limits, _serialize_calls(observer), process_limits)
    context.limiter = LockedConnectionLimiter(process_limits)
    return context


def _serialize_calls(observer: ResponseObserver | None) -> ResponseObserver | None:
    """Return an observer that is called by one thread at a time: the log has no locks."""
    if not observer:
        return None
    lock, observe = threading.Lock(), observer

    def locked(*response: Any) -> None:
        with lock:
            observe(*response)

    return locked
