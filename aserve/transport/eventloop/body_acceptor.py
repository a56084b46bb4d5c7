"""Who gets the body of a request on an event loop: asked once its head is known."""

import time
from functools import partial
from typing import TYPE_CHECKING

from aserve.cache.keys import ConnectionFacts
from aserve.handlers.handler import AcceptBody, RequestContext
from aserve.http.messages import BodySink, Request
from aserve.http.request_target import without_tls_scheme
from aserve.http1.connection import BodyAcceptor

if TYPE_CHECKING:
    from aserve.transport.eventloop.proxied_cache import ProxiedCache


def body_acceptor(
    accept_body: AcceptBody | None, facts: ConnectionFacts, proxied: "ProxiedCache | None"
) -> BodyAcceptor | None:
    """Return what is asked on one connection, None if no body is wanted.

    facts: those of them that are visible. proxied: the clients of a trusted proxy.
    """
    if not accept_body:
        return None
    if proxied:
        return partial(_accept_proxied, proxied, accept_body)
    return partial(accept_as, facts, accept_body)


def accept_as(facts: ConnectionFacts, accept_body: AcceptBody, request: Request) -> BodySink | None:
    """Return what gets the body of a request of a client of which these facts are visible."""
    if facts.scheme == "https":
        request = without_tls_scheme(request)
    return accept_body(request, RequestContext(int(time.time()), False, *facts))


def _accept_proxied(
    proxied: "ProxiedCache", accept_body: AcceptBody, request: Request
) -> BodySink | None:
    """Return what gets the body of a request that a proxy passes on. Raises HttpError."""
    request = proxied.identify(request)
    if request.error:
        raise request.error
    return accept_as(proxied.visible.facts, accept_body, request)
