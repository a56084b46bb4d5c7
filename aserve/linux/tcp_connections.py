"""Which connections there are: the kernel is asked, whichever process has them."""

import os
from collections import defaultdict
from collections.abc import Collection, Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path

NET = Path("/proc/net")

_OPEN = {"01", "08"}
"""TCP_ESTABLISHED, and TCP_CLOSE_WAIT: that client sends no more, but may still read."""


_LISTENS = "0A"
"""TCP_LISTEN."""
_OPEN_UNIX = {"02", "03"}
"""SS_CONNECTING, which is one that waits to be accepted, and SS_CONNECTED."""


def has_connections(places: Collection[int | str], net: Path = NET) -> bool:
    """Tell whether any connection is open to these places of this machine.

    places: ports (proc_net_tcp(5)), and the paths and @names of Unix sockets (/proc/net/unix). One
    that waits to be accepted counts as well. True where the kernel does not tell: a port that
    no one listens on belongs to another network namespace.
    """
    names = {place for place in places if isinstance(place, str)}
    ports = {place for place in places if isinstance(place, int)}
    try:
        return _has_tcp(ports, net) or _has_unix(names, net)
    except OSError:
        return True


def can_tell(net: Path = NET) -> bool:
    """Tell whether the kernel tells which connections there are."""
    return os.access(net / "tcp", os.R_OK)


def _has_tcp(ports: AbstractSet[int], net: Path) -> bool:
    states = defaultdict(set)
    for line in _tcp_sockets(net):
        _, local, _, state, _ = line.split(maxsplit=4)
        states[int(local.rpartition(":")[2], 16)].add(state)
    return any(states[port] & _OPEN or _LISTENS not in states[port] for port in ports)


def _has_unix(names: AbstractSet[str], net: Path) -> bool:
    """Tell whether a server's end of a connection is open: it has the name of the listener."""
    sockets = (line.split(maxsplit=7) for line in (_unix_sockets(net) if names else ()))
    return any(len(one) > 7 and one[5] in _OPEN_UNIX and one[7] in names for one in sockets)


def _tcp_sockets(net: Path) -> Iterator[str]:
    """Yield a line for each socket, those of IPv6 where it is not switched off."""
    yield from (net / "tcp").read_text().splitlines()[1:]
    if (net / "tcp6").exists():
        yield from (net / "tcp6").read_text().splitlines()[1:]


def _unix_sockets(net: Path) -> Iterator[str]:
    yield from (net / "unix").read_text("utf-8", "surrogateescape").split("\n")[1:]
