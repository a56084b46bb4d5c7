"""The response cache on a connection of a trusted proxy, whose clients take turns on it."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from aserve.cache.cached_response import CacheHit, HeadLookup
from aserve.cache.keys import MAX_HEAD_SIZE, ConnectionFacts, KeyedOn
from aserve.handlers.handler import CountRequest
from aserve.http.forwarded import Hop
from aserve.policies.trusted_proxies import TrustedProxies
from aserve.transport.proxied_client import ProxiedClient, client_facts

_MAX_REMEMBERED = 1_024

IsBarred = Callable[[str, int], bool]
"""Tells whether a client gets nothing from the cache at a POSIX time, in seconds."""


class Visible(NamedTuple):
    """What policies see of a client, and the part of the cache that is for it."""

    all_facts: ConnectionFacts
    facts: ConnectionFacts
    partition_key: bytes


class ProxiedClients:
    """Those of all connections of trusted proxies, and what of the cache is for whom.

    keyed_on: what decides a response. cache: None if there is none. is_barred: None for no one.
    count_request: counts what is found in the cache, None if nothing is counted.
    """

    def __init__(
        self,
        proxies: TrustedProxies,
        keyed_on: KeyedOn,
        cache: HeadLookup | None,
        is_barred: IsBarred | None,
        count_request: CountRequest | None = None,
    ) -> None:
        self.proxies = proxies
        self.trusts = proxies.trusts
        self.cache = cache
        self.is_barred = is_barred
        self.count_request = count_request
        self._keyed_on = keyed_on
        self.visible_of = lru_cache(maxsize=_MAX_REMEMBERED)(self._visible_of)
        """Returns what is visible of a client: by the facts of its connection, and its origin."""

    def behind(self, peer: ConnectionFacts, family: int) -> "ProxiedCache | None":
        """Return those behind one connection, None if its peer is no trusted proxy.

        family: that of its socket.
        """
        return ProxiedCache(self, peer) if self.trusts(peer.client, family) else None

    def _visible_of(self, peer: ConnectionFacts, origin: Hop) -> Visible:
        facts = client_facts(peer, origin)
        visible = self._keyed_on.visible(facts)
        return Visible(facts, visible, self._keyed_on.proxied_partition_key(visible, origin.host))


class ProxiedCache(ProxiedClient):
    """Finds the cached response to a head for the client that it says to be of, and notes which.

    So the log has that client, and a client that gets nothing from the cache gets nothing by way of
    a connection that others share.
    """

    __slots__ = ("_shared",)

    def __init__(self, shared: ProxiedClients, peer: ConnectionFacts) -> None:
        super().__init__(shared.proxies, peer)
        self._shared = shared

    @property
    def visible(self) -> Visible:
        """What is visible of the client of the current request."""
        return self._shared.visible_of(self._peer, self._origin)

    def lookup_head(self, head: bytes, now: float) -> CacheHit | None:
        """Return the valid response to exactly this head of its client, with its request.

        now: POSIX seconds.
        """
        shared, cache = self._shared, self._shared.cache
        if not cache or len(head) > MAX_HEAD_SIZE:
            return None
        origin = self._proxies.origin_in(head)
        if origin is None:
            return None
        all_facts, facts, partition_key = shared.visible_of(self._peer, origin)
        if (is_barred := shared.is_barred) and is_barred(facts.client, int(now)):
            return None
        hit = cache.lookup_head(partition_key + head, now)
        # One too many is counted again when it is parsed, which finds the same (counted_lookup).
        if not hit or ((count := shared.count_request) and count(hit[1], facts.client, now)):
            return None
        self._origin, self.facts = origin, all_facts
        return hit
