"""What the connections of one server share, in the models without asyncio."""

import time
from copy import copy
from typing import TYPE_CHECKING

from aserve.cache.keys import ConnectionFacts
from aserve.handlers.handler import RequestContext
from aserve.http.messages import BodySink, HttpError, Request, Response
from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.transport.connection_limiter import (
    ConnectionLimiter,
    ProcessLimits,
    process_limits,
)
from aserve.transport.observers import ResponseObserver
from aserve.transport.server_connection import ServerConnection

if TYPE_CHECKING:
    from aserve.transport.proxied_client import ProxiedClient
    from aserve.transport.proxy_protocol import ProxyProtocol


class Latest:
    """The pointer to the latest context, which all contexts of one server share.

    They do not point to each other, or a connection that stays would keep all that came after its
    own.
    """

    __slots__ = ("context",)

    def __init__(self, context: "ConnectionContext") -> None:
        self.context = context


class ConnectionContext:
    """What all connections of one server share: the site, and how it is served.

    A reload replaces it: `Latest.context` is the one pointer that moves. Each connection follows it
    before its next request, on its own thread.
    """

    def __init__(
        self,
        site: Site,
        limits: Limits,
        observer: ResponseObserver | None,
        bounds: ProcessLimits,
    ) -> None:
        self.site = site
        self._sees_connection = site.keyed_on.sees_connection
        self.limits = limits
        self.observer = observer
        self.limiter = ConnectionLimiter[ServerConnection](bounds)
        self.proxy_protocol: ProxyProtocol | None = None
        """What every connection begins with, None for HTTP."""
        self.is_replaced = False
        """Whether a reload has made another one, which the next request belongs to."""
        self._latest = Latest(self)
        self.is_retired = False
        """Whether another process accepts: the next response of each connection is its last."""

    @property
    def latest(self) -> "ConnectionContext":
        """The context that the next request belongs to."""
        return self._latest.context

    def replace(self, site: Site, limits: Limits, proxy: "ProxyProtocol | None" = None) -> None:
        """Have every next request answered by another site; any thread may call this.

        proxy: what every next connection begins with.
        """
        former = self.latest
        context = copy(former)
        context._set(site, limits)  # noqa: SLF001 - of the same class
        context.proxy_protocol = proxy
        context._latest.context = context  # noqa: SLF001 - as above
        former.is_replaced = True  # last: a connection may follow at once

    def _set(self, site: Site, limits: Limits) -> None:
        self.site, self.limits = site, limits
        self._sees_connection = site.keyed_on.sees_connection
        bounds = self.limiter.limits
        self.limiter.change_limits(process_limits(limits, bounds.max_fd, bounds.threads))

    @property
    def active_responses(self) -> int:
        """How many responses are being made or sent."""
        return sum(connection.is_responding for connection in list(self.limiter.connections))

    def proxied_client(self, peer: ConnectionFacts, family: int) -> "ProxiedClient | None":
        """Return what finds the clients of a connection, if its peer is a trusted proxy.

        family: that of its socket.
        """
        proxies = self.site.proxies
        if not (proxies and proxies.trusts(peer.client, family)):
            return None
        from aserve.transport.proxied_client import ProxiedClient

        return ProxiedClient(proxies, peer)

    def count_request(self, facts: ConnectionFacts, request: Request) -> HttpError | None:
        """Count a client's request. Return the error to answer it with if it is one too many."""
        count_request = self.site.count_request
        return count_request(request, facts.client, time.time()) if count_request else None

    def count_proxied_request(self, proxied: "ProxiedClient", request: Request) -> HttpError | None:
        """Count a request that a proxy passes on, for the client that it names."""
        request = proxied.identify(request)
        return request.error or self.count_request(proxied.facts, request)

    def accept_body(self, facts: ConnectionFacts, request: Request) -> BodySink | None:
        """Return what gets the body of a client's request, None to discard it."""
        accept_body = self.site.accept_body
        context = self._request_context(int(time.time()), facts)
        return accept_body(request, context) if accept_body else None

    def accept_proxied_body(self, proxied: "ProxiedClient", request: Request) -> BodySink | None:
        """Return what gets the body of a request that a proxy passes on. Raises HttpError."""
        request = proxied.identify(request)
        if request.error:
            raise request.error
        return self.accept_body(proxied.facts, request)

    def handle(self, request: Request, second: int, facts: ConnectionFacts) -> Response:
        """Return the response to a request, or the error response to an invalid one."""
        return self.site.handle(request, self._request_context(second, facts))

    def finish(
        self, request: Request, second: int, facts: ConnectionFacts, response: Response
    ) -> Response:
        """Return the response of a sink, with what every response of the site has."""
        return self.site.finish(request, self._request_context(second, facts), response)

    def _request_context(self, second: int, facts: ConnectionFacts) -> RequestContext:
        if not self._sees_connection:  # the usual case, for which this saves 1 us
            return RequestContext(second)
        return RequestContext(second, True, *self.site.keyed_on.visible(facts))
