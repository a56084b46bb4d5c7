"""Names of hosts as requests and settings have them, in one form that can be compared.

The port, the case of letters, a dot at the end, the spelling of an IPv6 address and Unicode do not
make another host (RFC 9110 section 4.2.3, RFC 5952, RFC 5891).
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Generic, TypeVar

from aserve.http.messages import Request
from aserve.http.request_target import parse_authority, target_authority

T = TypeVar("T")

MAX_NAME = 253
"""Characters of a name in DNS (RFC 1035 section 2.3.4), without the dot at its end."""

_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.(?!-)[a-z0-9_-]{1,63})*", re.ASCII)
_WILDCARD = "*."
_LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa", ".test")
"""Names that cannot be registered (RFC 6761, RFC 6762, RFC 8375)."""


def request_authority(request: Request) -> str:
    """Return the host that a request is for, with its port; "" where it names none.

    The host of an http URL as the target goes before the Host header (RFC 9112 section 3.2.2).
    """
    if not request.target.startswith("/") and (authority := target_authority(request.target)):
        return authority
    return request.headers.get("host", "")


def normal_host(authority: str) -> str:
    """Return the host of an authority in its normal form; "" for none.

    Percent escapes stay as they are: no client sends a name with them, and no setting matches one.
    """
    parsed = parse_authority(authority)
    return _normal(parsed.host) if parsed else ""


def is_address(host: str) -> bool:
    """Tell whether a host is an IP address, without brackets."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_local_name(host: str) -> bool:
    """Tell whether a host is an address, or a name that no one has in the public DNS.

    host: in its normal form.
    """
    is_single = bool(host) and "." not in host
    return is_single or host.endswith(_LOCAL_SUFFIXES) or is_address(host)


def parse_host_name(text: str) -> str:
    """Return the normal form of a host in settings, which may begin with "*."; raises ValueError.

    The error says what is right, in one line.
    """
    if text == "*":
        raise ValueError("'*' is every host: the site of all other hosts needs no name")
    prefix = _WILDCARD if text.startswith(_WILDCARD) else ""
    host = text.removeprefix(prefix)
    if is_address(address := host.strip("[]")):
        if prefix:
            raise ValueError(f"{text!r} is no host: there are no names below an address")
        if "%" in address:
            raise ValueError(f"{text!r} is no host: browsers send no zone of an address")
        return _normal(address)
    name = _ascii_name(host)
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise ValueError(f"must be the name of a host{_hint(text)}, not {text!r}")
    return prefix + name


def browser_host(host: str) -> str:
    """Return a host as browsers send it; raises ValueError for letters that no name has."""
    return host if host.isascii() else _ascii_name(host)


class HostTable(Generic[T]):
    """Finds what belongs to a host: by its name, else by the longest wildcard.

    "*.a.test" is every name below a.test, however deep, and not a.test itself. entries: by hosts in
    their normal form.
    """

    def __init__(self, entries: Mapping[str, T]) -> None:
        self._exact = {host: one for host, one in entries.items() if host[0] != "*"}
        self._below = {host[2:]: one for host, one in entries.items() if host[0] == "*"}

    def get(self, host: str) -> T | None:
        """Return what belongs to a host in its normal form, None if nothing does."""
        found = self._exact.get(host)
        if found is not None or not self._below or len(host) > MAX_NAME or is_address(host):
            return found
        rest = host
        while (rest := rest.partition(".")[2]) and found is None:
            found = self._below.get(rest)
        return found


def local_names(hostname: str) -> frozenset[str]:
    """Return the names that lead to a machine and to no other, in their normal form."""
    name = _normal(hostname)
    multicast = f"{name.partition('.')[0]}.local"  # RFC 6762
    names = {"localhost", "*.localhost", name, multicast}
    return frozenset(one for one in names if _NAME.fullmatch(one.removeprefix(_WILDCARD)))


def _normal(host: str) -> str:
    name = host.lower()
    if len(name) > 1:
        name = name.removesuffix(".")
    return str(ip_address(name)) if ":" in name and is_address(name) else name


def _ascii_name(host: str) -> str:
    """Return a name as DNS has it: its letters beyond ASCII in punycode, as browsers send them."""
    name = host.removesuffix(".").lower()
    if name.isascii():
        return name
    import idna  # noqa: PLC0415 - its tables take 10 ms to load, and few names need them

    try:
        return idna.encode(name, uts46=True, std3_rules=True).decode()
    except idna.IDNAError as error:
        raise ValueError(f"{host!r} is no name of a host: {str(error).lower()}") from None


def _hint(text: str) -> str:
    """Return what is probably wrong with a name, "" if it is not known."""
    if "://" in text or "/" in text:
        return ", without a scheme and a path"
    if parse_authority(text.removeprefix(_WILDCARD)) and ":" in text:
        return ", without a port: a site is served on all ports"
    if "*" in text:
        return ": a wildcard is *.NAME"
    return ""
