"""Which TCP connections there are: the kernel is asked, whichever process has them."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

NET = Path("/proc/net")

_OPEN = {"01", "08"}
"""TCP_ESTABLISHED, and TCP_CLOSE_WAIT: that client sends no more, but may still read."""


def has_connections(ports: Collection[int], net: Path = NET) -> bool:
    """Tell whether any connection to these ports of this machine is open: proc_net_tcp(5).

    One that waits to be accepted counts as well. True where the kernel does not tell.
    """
    try:
        return any(_is_open(line, ports) for line in _connections(net))
    except OSError:
        return True


def can_tell(net: Path = NET) -> bool:
    """Tell whether the kernel tells which connections there are."""
    return os.access(net / "tcp", os.R_OK)


def _connections(net: Path) -> Iterator[str]:
    """Yield a line for each connection, those of IPv6 where it is not switched off."""
    yield from (net / "tcp").read_text().splitlines()[1:]
    if (net / "tcp6").exists():
        yield from (net / "tcp6").read_text().splitlines()[1:]


def _is_open(line: str, ports: Collection[int]) -> bool:
    _, local, _, state, _ = line.split(maxsplit=4)
    return state in _OPEN and int(local.rpartition(":")[2], 16) in ports
