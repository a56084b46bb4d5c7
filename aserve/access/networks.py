"""Which clients are served at all, by their addresses."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

_MAX_REMEMBERED = 4_096


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
        is_allowed = not self._allow or is_in(client, self._allow)
        return not is_allowed or is_in(client, self._deny)


def network_error(text: str) -> str:
    """Return what is wrong with a network in settings, "" if nothing is."""
    try:
        ip_network(text)
    except ValueError as error:
        return f"must be a network such as 10.0.0.0/8, or an address: {error}"
    return ""


def is_in(client: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Tell whether an address is in a network: ::ffff:1.2.3.4 is one of IPv4 as well."""
    try:
        address = ip_address(client.partition("%")[0])
    except ValueError:
        return False
    forms = [address, getattr(address, "ipv4_mapped", None)]
    return any(form in network for network in networks for form in forms if form)
