"""Counts the requests of a connection on an event loop, for the client that each of them is of."""

import time
from functools import partial
from typing import TYPE_CHECKING

from aserve.cache.keys import ConnectionFacts
from aserve.handlers.handler import CountRequest
from aserve.http.messages import HttpError, Request
from aserve.http1.connection import RequestCounter

if TYPE_CHECKING:
    from aserve.transport.eventloop.proxied_cache import ProxiedCache


def request_counter(
    count: CountRequest | None, facts: ConnectionFacts, proxied: "ProxiedCache | None"
) -> RequestCounter | None:
    """Return what counts the requests of one connection, None if they are not counted.

    facts: those of the connection that are visible. proxied: the clients of a trusted proxy.
    """
    if not count:
        return None
    if proxied:
        return partial(_count_proxied, proxied, count)
    return partial(_count_of, facts.client, count)


def _count_of(client: str, count: CountRequest, request: Request) -> HttpError | None:
    """Count a request of a client. Return the error to answer it with if it is one too many."""
    return count(request, client, time.time())


def _count_proxied(
    proxied: "ProxiedCache", count: CountRequest, request: Request
) -> HttpError | None:
    """Count a request that a proxy passes on, unless its proxies contradict each other."""
    request = proxied.identify(request)
    return request.error or _count_of(proxied.visible.facts.client, count, request)
