"""What a connection and the model that it belongs to say to each other."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from aserve.cache.response_cache import CachedResponse, CacheKey, ResponseCache
from aserve.http.messages import BodyPart, Request, Response
from aserve.http1.limits import Limits
from aserve.transport.connection_limiter import Decision
from aserve.transport.eventloop.thread_pool import ThreadPool
from aserve.transport.eventloop.write_readiness import WriteReadiness


class ResponseObserver(Protocol):
    """Is told of each response, when it has left or has been cut short."""

    def __call__(  # noqa: PLR0913, PLR0917 - called for each request: no time for a value of its own
        self,
        client: str,
        request: Request,
        status: int,
        octets: int,
        began: float,
        cut: bool = False,
        /,
    ) -> None:
        """Note a response.

        octets: bytes of content sent; began: POSIX time; cut: the rest was not sent.
        """


ReportRemaining = Callable[[int, int], None]
"""Is told, when a server stops, how many responses are still being sent, and how many connections
are still open."""

C_contra = TypeVar("C_contra", contravariant=True)


class PendingResponse(NamedTuple):
    """A response on its way back.

    key: what decides it, where that is worth remembering; at_once: no disk was waited for.
    """

    response: Response
    key: CacheKey | None = None
    was_nonblocking: bool = False


class ConnectionHost(Protocol[C_contra]):
    """What a connection asks of its model."""

    limits: Limits
    loop: asyncio.AbstractEventLoop
    thread_pool: ThreadPool
    write_readiness: WriteReadiness
    observer: ResponseObserver | None
    cache: ResponseCache | None

    def admit(self, connection: C_contra) -> Decision:
        """Take a connection into account, or tell that it is one too many."""

    def remove(self, connection: C_contra) -> None:
        """Drop a connection that is gone."""

    def reserve_descriptor(self, connection: C_contra) -> bool:
        """Take one more descriptor of a connection into account; tell whether there is one."""

    def release_descriptors(self, connection: C_contra) -> None:
        """Note that a connection holds no descriptor any more beside its own."""

    def handle(
        self, request: Request, done: Callable[[PendingResponse], None], *, keep_alive: bool
    ) -> CachedResponse | PendingResponse | None:
        """Return the reply, or None where done will get it."""

    def populate_cache(
        self, request: Request, answer: PendingResponse, pieces: Sequence[BodyPart], *, closes: bool
    ) -> None:
        """Take note of the reply that an answer has become; closes: the connection ends with it."""
