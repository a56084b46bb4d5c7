"""By which addresses and which name others in the network reach this machine, the best first."""

import sys
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, ip_address
from pathlib import Path
from socket import AF_INET6, socket

from aserve.server.listeners import format_url, port_of, route_address
from aserve.server.multicast_dns import is_announced
from aserve.tls.machine import Address, machine_addresses, machine_names

_NET, _INTERFACES = Path("/proc/net"), Path("/sys/class/net")


def lan_urls(listeners: Sequence[socket], scheme: str) -> list[str]:
    """Return the URLs by which others open what listens on all addresses, the best one first."""
    if not (port := port_of(listeners[0])):
        return []  # a service manager has opened a Unix socket
    has_ipv6 = any(one.family == AF_INET6 for one in listeners)
    addresses = lan_addresses(route_address())
    hosts = [str(one) for one in addresses if one.version == 4 or has_ipv6]
    own_ipv4 = [str(one) for one in addresses if one.version == 4]
    name = machine_names()[-1]
    if own_ipv4 and name.endswith(".local") and is_announced(name, own_ipv4):
        hosts.append(name)
    return [format_url(scheme, host, port) for host in hosts]


def lan_addresses(
    route: str, net: Path = _NET, interfaces: Path = _INTERFACES
) -> tuple[Address, ...]:
    """Return the addresses of this machine in private networks, those of IPv4 first.

    route: that of the default route, which is the first one, private or not; "" for none. Others
    cannot use those of bridges, which containers and virtual machines are connected by, unless the
    default route is one. net, interfaces: where the kernel tells them, proc(5) and sysfs(5).
    """
    first = [ip_address(route)] if route else []
    bridged = list(_bridged_networks(net, interfaces))
    others = [
        one
        for one in machine_addresses(net)
        if one.is_private
        and not one.is_loopback
        and one not in first
        and not any(one in network for network in bridged)
    ]
    return (*first, *others)


def _bridged_networks(net: Path, interfaces: Path) -> Iterator[IPv4Network]:
    """Yield the networks of bridges, as the table of routes has them."""
    try:
        _, *lines = (net / "route").read_text().splitlines()
    except (OSError, ValueError):  # no Linux, or no network
        return
    for line in lines:
        interface, destination, *_, mask = line.split()[:8]
        if (interfaces / interface / "bridge").is_dir() and int(mask, 16):
            yield IPv4Network((_bytes(destination), str(ip_address(_bytes(mask)))))


def _bytes(text: str) -> bytes:
    """Return an address that the kernel writes as one number, in its own order of bytes."""
    return int(text, 16).to_bytes(4, sys.byteorder)
