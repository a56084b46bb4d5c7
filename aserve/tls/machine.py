"""What this machine is called in its own network: names and addresses, without asking anyone."""

import re
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

Address = IPv4Address | IPv6Address

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_LOCAL_IPV4 = re.compile(r"\|-- ([0-9.]+)\n\s+/32 host LOCAL")
_LINK_LOCAL = ip_network("fe80::/10")
_LOOPBACKS = ("127.0.0.1", "::1")


def machine_names(hostname: str | None = None) -> tuple[str, ...]:
    """Return localhost and the names of this machine: the full one, the short one, and for mDNS.

    hostname: what the system says, unless it is given.
    """
    full = (socket.gethostname() if hostname is None else hostname).lower().rstrip(".")
    if not all(map(_LABEL.fullmatch, full.split("."))):  # no certificate can have it
        return ("localhost",)
    short = full.partition(".")[0]
    return tuple(dict.fromkeys(("localhost", full, short, f"{short}.local")))


def machine_addresses(net: Path = Path("/proc/net")) -> tuple[Address, ...]:
    """Return the addresses of this machine, the loopback ones first.

    Without link-local ones of IPv6, which a URL names together with an interface. net: where the
    kernel tells them, proc(5).
    """
    found = {
        *_LOCAL_IPV4.findall(_read(net / "fib_trie")),
        *(
            str(IPv6Address(int(line.split()[0], 16)))
            for line in _read(net / "if_inet6").splitlines()
        ),
    }
    addresses = {ip_address(text) for text in found - set(_LOOPBACKS)}
    others = {one for one in addresses if not (one.is_loopback or _is_link_local(one))}
    return (*map(ip_address, _LOOPBACKS), *sorted(others, key=lambda one: (one.version, int(one))))


def _is_link_local(address: Address) -> bool:
    return isinstance(_LINK_LOCAL, IPv6Network) and address in _LINK_LOCAL


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # no Linux, or no IPv6
        return ""
