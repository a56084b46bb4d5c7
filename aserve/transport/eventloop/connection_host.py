"""The interface between a connection and the server that it belongs to."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from aserve.cache.cached_response import CachedResponse, HeadLookup
from aserve.cache.keys import CacheKey, ConnectionFacts
from aserve.cache.response_cache import ResponseCache
from aserve.handlers.handler import AcceptBody, CountRequest, RequestContext
from aserve.http.messages import BodyPart, HttpError, Request, Response
from aserve.transport.eventloop.sink_queue import SinkQueue
from aserve.transport.eventloop.thread_pool import ThreadPool
from aserve.transport.eventloop.write_readiness import WriteReadiness
from aserve.transport.server_connection import ServerConnection, ServerContext

if TYPE_CHECKING:
    from aserve.transport.eventloop.proxied_cache import ProxiedClients


class PendingResponse(NamedTuple):
    """A response that is ready to be sent.

    context: what it was made from besides the request. key: its cache key, None if it is not to be
    cached now.
    """

    response: Response
    context: RequestContext
    key: CacheKey | None = None


class ConnectionHost(ServerContext, Protocol):
    """What a connection needs from its server."""

    loop: asyncio.AbstractEventLoop
    thread_pool: ThreadPool
    sink_queue: SinkQueue
    write_readiness: WriteReadiness
    cache: ResponseCache | None
    accept_body: AcceptBody | None
    count_request: CountRequest | None
    sees_connection: bool
    """Whether facts of the connection matter: a policy has declared one, or proxies are trusted."""
    proxied_clients: "ProxiedClients | None"
    """Those behind trusted proxies, None where none is trusted."""

    @property
    def successor(self) -> "ConnectionHost | None":
        """What a reload has replaced this by: the next requests are its."""

    def remove(self, connection: ServerConnection) -> None:
        """Remove a closed connection."""

    def leave(self, connection: ServerConnection) -> None:
        """Note that a connection has gone over to a successor."""

    def visible(self, facts: ConnectionFacts) -> ConnectionFacts:
        """Return the facts of a connection that policies have declared."""

    def partition_key(self, visible: ConnectionFacts) -> bytes:
        """Return the part of the cache for a connection of which this is visible."""

    def cache_for(self, visible: ConnectionFacts, partition_key: bytes) -> HeadLookup | None:
        """Return the cached responses for a connection of which this is visible."""

    def handle(
        self,
        request: Request,
        context: RequestContext,
        done: Callable[[PendingResponse], None],
        *,
        keep_alive: bool,
        partition_key: bytes,
    ) -> CachedResponse | PendingResponse | None:
        """Return the response, or None if done will be called with it.

        partition_key: of the part of the cache for its client.
        """

    def reject(
        self, request: Request, context: RequestContext, error: HttpError
    ) -> PendingResponse:
        """Return the error response to a request."""

    def finish(
        self, request: Request, context: RequestContext, response: Response
    ) -> PendingResponse:
        """Return the response of a sink, with what every response of the site has."""

    def populate_cache(
        self, request: Request, pending: PendingResponse, parts: Sequence[BodyPart], *, closes: bool
    ) -> None:
        """Cache a response that is being sent. closes: whether the connection closes after it."""
