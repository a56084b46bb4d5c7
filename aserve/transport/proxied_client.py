"""The clients behind one connection of a trusted proxy: one after the other, each with requests."""

from aserve.cache.keys import ConnectionFacts
from aserve.http.forwarded import NOTHING_SAID, Hop
from aserve.http.messages import Request
from aserve.http.request_target import without_tls_scheme
from aserve.policies.trusted_proxies import CONTRADICTION, TrustedProxies


class ProxiedClient:
    """The client of the current request on a connection of a proxy.

    peer: the facts of the connection itself, which hold for what the proxy does not say.
    """

    __slots__ = ("_origin", "_peer", "_proxies", "facts")

    def __init__(self, proxies: TrustedProxies, peer: ConnectionFacts) -> None:
        self._proxies = proxies
        self._peer = peer
        self._origin = NOTHING_SAID
        self.facts = peer
        """The facts of the client, as if it had connected itself."""

    def identify(self, request: Request) -> Request:
        """Find the client of a request. Return the request as that client has sent it.

        If its proxies contradict each other, the request has an error, and no client but the proxy.
        """
        origin = self._proxies.origin_in(request.head.encode("latin-1"))
        self._origin = origin or NOTHING_SAID
        self.facts = client_facts(self._peer, self._origin)
        if origin is None and not request.error:
            request = request._replace(error=CONTRADICTION)
        if self.facts.scheme == "https":
            request = without_tls_scheme(request)
        if host := self._origin.host:
            request = request._replace(headers={**request.headers, "host": host})
        return request


def client_facts(peer: ConnectionFacts, origin: Hop) -> ConnectionFacts:
    """Return the facts of a client. peer: those of the connection. origin: what its proxy says."""
    return peer._replace(client=origin.client or peer.client, scheme=origin.scheme or peer.scheme)
