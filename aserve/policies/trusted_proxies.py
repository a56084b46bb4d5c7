"""Who has sent a request that a proxy has passed on: what the proxies say that are trusted.

X-Forwarded-For and Forwarded are both written by some proxies, but most write one of them and pass
on the other one as a client has sent it. Which one it is cannot be seen in a request. So where both
are there they have to agree, and what only one of them says does not count.
"""

import re
import socket
from collections.abc import Iterable
from functools import lru_cache

from aserve.access.networks import TrustedPeers
from aserve.http.forwarded import (
    NOTHING_SAID,
    Hop,
    forwarded_for_hops,
    forwarded_hops,
    last_host,
    last_scheme,
)
from aserve.http.messages import HttpError

CONTRADICTION = HttpError(400, "The headers Forwarded and X-Forwarded contradict each other.")

_MAX_REMEMBERED_HEAD = 1_024  # bytes; 1,024 longer ones would take megabytes
_LINES = re.compile(
    rb"\r\n(forwarded|x-forwarded-(?:for|host|proto)):[ \t]*([^\r]*)", re.IGNORECASE
)

Lines = tuple[tuple[bytes, bytes], ...]
"""Names and values of header lines."""


class TrustedProxies:
    """Finds who has sent a request that came from a peer that is trusted.

    trusted: networks, addresses, or "unix" for all who connect by a Unix socket.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        self._peers = TrustedPeers(trusted)
        self._remembered = lru_cache(maxsize=1_024)(self._find)

    def trusts(self, peer: str, family: int) -> bool:
        """Tell whether a peer is trusted. family: that of its socket."""
        if family == socket.AF_UNIX:
            return self._peers.has_unix
        return self._peers.has_address(peer)

    def origin_in(self, head: bytes) -> Hop | None:
        """Return what is to be believed of the lines in a head; None where they contradict.

        Its client is "" where that is the peer itself.
        """
        lines = tuple(_LINES.findall(head))
        if not lines:
            return NOTHING_SAID
        return (self._remembered if len(head) <= _MAX_REMEMBERED_HEAD else self._find)(lines)

    def _find(self, lines: Lines) -> Hop | None:
        values: dict[bytes, str] = {}
        for name, value in lines:  # RFC 9110 section 5.3: lines with one name form one list
            key, text = name.lower(), value.decode("latin-1")
            values[key] = f"{values[key]}, {text}" if key in values else text
        forwarded = values.pop(b"forwarded", None)
        x_forwarded = self._x_forwarded(values) if values else None
        if forwarded is None:
            return x_forwarded
        said = self._first_stranger(forwarded_hops(forwarded))
        if not x_forwarded:
            return said
        return _agreed(said, x_forwarded, names_client=b"x-forwarded-for" in values)

    def _x_forwarded(self, values: dict[bytes, str]) -> Hop:
        """Return what X-Forwarded-* say: of scheme and host, what the last proxy says that does.

        These two are not lists to all proxies, so that no part can be told to be that of one hop.
        """
        hops = forwarded_for_hops(values.get(b"x-forwarded-for", ""))
        return Hop(
            self._first_stranger(hops).client,
            last_scheme(values.get(b"x-forwarded-proto", "")),
            last_host(values.get(b"x-forwarded-host", "")),
        )

    def _first_stranger(self, hops: Iterable[Hop]) -> Hop:
        """Return what the last trusted proxy says of a client that is none itself.

        hops: the last one first, which the trusted peer has said. One that names no address ends
        the search: then the client is who said so.
        """
        found = NOTHING_SAID
        for hop in hops:
            found = hop if hop.client else hop._replace(client=found.client)
            if not (hop.client and self._peers.has_address(hop.client)):
                break
        return found


def _agreed(one: Hop, other: Hop, *, names_client: bool) -> Hop | None:
    """Return what both say, None where they contradict. names_client: whether the other one does.

    That one says who the client is, and the other one does not, is a contradiction, too: else a
    client could hide itself by the header that its proxy passes on.
    """
    if names_client and one.client != other.client:
        return None
    agreed = [one.client]
    for mine, its in zip(one[1:], other[1:], strict=True):
        if mine and its and mine != its:
            return None
        agreed.append(mine and its)
    return Hop(*agreed)
