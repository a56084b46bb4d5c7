"""Server-sent events to one client, until it goes away (WHATWG HTML, 9.2)."""

import asyncio
from collections.abc import Callable

from aserve.policies.live_updates import LiveUpdates

_HEARTBEAT = 15  # seconds; a proxy between may close a connection on which nothing is sent
_RETRY = b"retry: 500\n\n"  # milliseconds after which a browser connects again
_MAX_UNREAD = 262_144  # bytes; a client that does not read them is gone for all that matters


class EventStream(asyncio.Protocol):
    """Has a client's connection for the updates of a server. last_id: of the last one it has."""

    needs_descriptor = False

    def __init__(self, updates: LiveUpdates, last_id: str) -> None:
        self._updates = updates
        self._last_id = last_id
        self._ticks = 0
        self._transport: asyncio.Transport | None = None
        self._on_closed: Callable[[Exception | None], None]

    async def prepare(self) -> None:
        """Do nothing: there is nothing that can fail."""

    def start(
        self,
        transport: asyncio.Transport,
        received: bytes,  # noqa: ARG002 - Takeover
        *,
        has_ended: bool,  # noqa: ARG002 - it may still read
        on_closed: Callable[[Exception | None], None],
    ) -> None:
        """Send what the client has missed, and from now on each update."""
        self._transport, self._on_closed = transport, on_closed
        transport.set_protocol(self)
        transport.write(_RETRY)
        self._updates.subscribe(self._send, self._last_id)

    def _send(self, event: bytes) -> None:
        transport = self._transport
        if not transport or transport.is_closing():
            return
        transport.write(event)
        if transport.get_write_buffer_size() > _MAX_UNREAD:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Send nothing any more."""
        self._updates.unsubscribe(self._send)
        self._on_closed(exc)

    def tick(self) -> None:
        """Send a comment from time to time, which also finds out that a client is gone."""
        self._ticks += 1
        if self._ticks % _HEARTBEAT == 0:
            self._send(b":\n\n")

    def stop(self) -> None:
        """End once what was sent is read: the browser connects again when a server is there."""
        if self._transport:
            self._transport.close()

    def abort(self) -> None:
        """End at once."""
        if self._transport:
            self._transport.abort()
