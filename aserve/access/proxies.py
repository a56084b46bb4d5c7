"""Which peers are proxies that may say who their clients are."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_network

from aserve.access.networks import is_in, network_error

UNIX = "unix"
"""Stands for all peers on Unix sockets, which have no address."""
NO_ADDRESS = "-"
"""What a peer on a Unix socket has in place of its address."""

_MAX_REMEMBERED = 4_096


class TrustedProxies:
    """Tells trusted proxies by their addresses.

    trust: networks as "10.0.0.0/8", addresses, or UNIX; raises ValueError for anything else.
    """

    def __init__(self, trust: Iterable[str]) -> None:
        given = set(trust)
        self._networks = tuple(map(ip_network, given - {UNIX}))
        self._trusts_unix = UNIX in given
        self.trusts = lru_cache(maxsize=_MAX_REMEMBERED)(self._trusts)
        """Tells whether a peer is trusted."""

    def _trusts(self, peer: str) -> bool:
        return self._trusts_unix if peer == NO_ADDRESS else is_in(peer, self._networks)


def trust_error(text: str) -> str:
    """Return what is wrong with one of the trusted in settings, "" if nothing is."""
    return "" if text == UNIX else network_error(text)
