"""The interface between a connection and the server that it belongs to."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from aserve.cache.response_cache import CachedResponse, CacheKey, ResponseCache
from aserve.http.messages import BodyPart, Request, Response
from aserve.transport.eventloop.thread_pool import ThreadPool
from aserve.transport.eventloop.write_readiness import WriteReadiness
from aserve.transport.server_connection import ServerConnection, ServerContext


class PendingResponse(NamedTuple):
    """A response that is ready to be sent.

    key: its cache key, None if it cannot be cached. was_nonblocking: whether it was made without
    waiting for a disk.
    """

    response: Response
    key: CacheKey | None = None
    was_nonblocking: bool = False


class ConnectionHost(ServerContext, Protocol):
    """What a connection needs from its server."""

    loop: asyncio.AbstractEventLoop
    thread_pool: ThreadPool
    write_readiness: WriteReadiness
    cache: ResponseCache | None

    def remove(self, connection: ServerConnection) -> None:
        """Remove a closed connection."""

    def handle(
        self, request: Request, done: Callable[[PendingResponse], None], *, keep_alive: bool
    ) -> CachedResponse | PendingResponse | None:
        """Return the response, or None if done will be called with it."""

    def populate_cache(
        self, request: Request, pending: PendingResponse, parts: Sequence[BodyPart], *, closes: bool
    ) -> None:
        """Cache a response that is being sent. closes: whether the connection closes after it."""
