"""Which clients are served at all, and which peers are proxies that are trusted: by addresses."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

UNIX = "unix"
"""In place of a network: all who connect by a Unix socket."""

_MAX_REMEMBERED = 4_096
_MIN_PREFIXES = {4: 8, 6: 16}  # bits: no one has all of a wider network of public addresses


class ClientNetworks:
    """Decides by address which clients are served: none of those in deny, and of the others all.

    allow: if there are any, only clients in them are served. Both are networks as "10.0.0.0/8" or
    addresses; raises ValueError for anything else. A client without an address is in none of them.
    """

    def __init__(self, allow: Iterable[str], deny: Iterable[str]) -> None:
        self._allow = tuple(map(ip_network, allow))
        self._deny = tuple(map(ip_network, deny))
        self.is_denied = lru_cache(maxsize=_MAX_REMEMBERED)(self._is_denied)
        """Tells whether a client is not served."""

    def _is_denied(self, client: str) -> bool:
        is_allowed = not self._allow or _is_in(client, self._allow)
        return not is_allowed or _is_in(client, self._deny)


class TrustedPeers:
    """Decides who is believed. trusted: networks, addresses, and UNIX; else raises ValueError."""

    def __init__(self, trusted: Iterable[str]) -> None:
        texts = set(trusted)
        self.has_unix = UNIX in texts
        """Whether those are trusted that connect by a Unix socket."""
        self._networks = tuple(map(ip_network, texts - {UNIX}))
        self.has_address = lru_cache(maxsize=_MAX_REMEMBERED)(self._has_address)
        """Tells whether an address is that of one who is trusted."""

    def _has_address(self, address: str) -> bool:
        return _is_in(address, self._networks)


def is_wide(text: str) -> bool:
    """Tell whether a network in settings is so wide that strangers are in it."""
    network = ip_network(text)
    return network.prefixlen < _MIN_PREFIXES[network.version] and not network.is_private


def network_error(text: str) -> str:
    """Return what is wrong with a network in settings, "" if nothing is."""
    try:
        ip_network(text)
    except ValueError as error:
        return f"must be a network such as 10.0.0.0/8, or an address: {error}"
    return ""


def _is_in(client: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Tell whether an address is in a network: ::ffff:1.2.3.4 is one of IPv4 as well."""
    try:
        address = ip_address(client.partition("%")[0])
    except ValueError:
        return False
    forms = [address, getattr(address, "ipv4_mapped", None)]
    return any(form in network for network in networks for form in forms if form)
