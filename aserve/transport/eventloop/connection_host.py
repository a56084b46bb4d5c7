"""The interface between a connection and the server that it belongs to."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from aserve.cache.keys import CacheKey
from aserve.cache.response_cache import CachedResponse, HeadLookup, ResponseCache
from aserve.handlers.handler import RequestContext
from aserve.http.messages import BodyPart, HttpError, Request, Response
from aserve.http1.limits import Limits
from aserve.transport.connection_limiter import Decision
from aserve.transport.eventloop.thread_pool import ThreadPool
from aserve.transport.eventloop.write_readiness import WriteReadiness


class ResponseObserver(Protocol):
    """Called for each response, when it was sent or truncated."""

    def __call__(  # noqa: PLR0913, PLR0917 - on the hot path: no time to make an object
        self,
        client: str,
        request: Request,
        status: int,
        body_size: int,
        started_at: float,
        truncated: bool = False,
        /,
    ) -> None:
        """Record a response.

        body_size: bytes of the body that were sent. started_at: POSIX time in seconds at which the
        request was dispatched. truncated: whether the rest was not sent.
        """


ReportRemaining = Callable[[int, int], None]
"""Called when a server stops, with the number of responses that are still being sent and the number
of connections that are still open."""

C_contra = TypeVar("C_contra", contravariant=True)


class PendingResponse(NamedTuple):
    """A response that is ready to be sent.

    context: what it was made from besides the request. key: its cache key, None if it cannot be
    cached.
    """

    response: Response
    context: RequestContext
    key: CacheKey | None = None


class ConnectionHost(Protocol[C_contra]):
    """What a connection needs from its server."""

    limits: Limits
    loop: asyncio.AbstractEventLoop
    thread_pool: ThreadPool
    write_readiness: WriteReadiness
    observer: ResponseObserver | None
    cache: ResponseCache | None
    has_cache_partitions: bool
    """Whether a cached response can depend on the connection."""

    def admit(self, connection: C_contra) -> Decision:
        """Count a new connection and decide whether it is accepted."""

    def remove(self, connection: C_contra) -> None:
        """Remove a closed connection."""

    def reserve_descriptor(self, connection: C_contra) -> bool:
        """Reserve one descriptor besides the connection's own; False if there is none."""

    def release_descriptors(self, connection: C_contra) -> None:
        """Release the descriptors that a connection had reserved."""

    def cache_for(self, connection: RequestContext) -> HeadLookup | None:
        """Return the cached responses for a connection with these facts."""

    def handle(
        self,
        request: Request,
        context: RequestContext,
        done: Callable[[PendingResponse], None],
        *,
        keep_alive: bool,
    ) -> CachedResponse | PendingResponse | None:
        """Return the response, or None if done will be called with it."""

    def reject(
        self, request: Request, context: RequestContext, error: HttpError
    ) -> PendingResponse:
        """Return the error response to a request."""

    def populate_cache(
        self, request: Request, pending: PendingResponse, parts: Sequence[BodyPart], *, closes: bool
    ) -> None:
        """Cache a response that is being sent. closes: whether the connection closes after it."""
