"""What a server does whose connections begin with a header of the PROXY protocol."""

import logging
import time
from collections.abc import Callable, Iterable
from math import inf
from typing import NamedTuple

from aserve.access.networks import TrustedPeers
from aserve.transport.proxy_header import ProxyHeaderError, parse_proxy_header

_LINE_INTERVAL = 60.0  # seconds between two lines of the log about connections that were refused
_NO_ADDRESS = "-"

_logger = logging.getLogger("aserve")


class NamedClient(NamedTuple):
    """What a header has said. client: an address, or "-". rest: what was received after it."""

    client: str
    rest: bytes


class HeaderReader:
    """Reads the header of one connection. peer: the address of the proxy."""

    __slots__ = ("_age", "_peer", "_protocol", "_received")

    def __init__(self, protocol: "ProxyProtocol", peer: str) -> None:
        self._protocol = protocol
        self._peer = peer
        self._received = b""
        self._age = 0

    def feed(self, data: bytes) -> NamedClient | None:
        """Return the client once the header is complete. Empty data means end of file.

        A proxy that names none is the client itself. Raises ProxyHeaderError.
        """
        if not data:
            if self._received:  # else it was opened and closed, as some health checks do
                self._protocol.refuse(self._peer, "it ended before its PROXY header")
            raise ProxyHeaderError("no PROXY header")
        self._received += data
        try:
            header = parse_proxy_header(self._received)
        except ProxyHeaderError as error:
            self._protocol.refuse(self._peer, str(error))
            raise
        if not header:
            return None
        return NamedClient(header.client or self._peer, self._received[header.size :])

    def expired(self, timeout: float) -> bool:
        """Count one second; tell whether the time of the header is up, however it trickles."""
        self._age += 1
        if self._age <= timeout:
            return False
        self.time_out()
        return True

    def time_out(self) -> None:
        """Note that the header has not arrived in time."""
        self._protocol.refuse(self._peer, "no PROXY header in time")


class ProxyProtocol:
    """Which peers may send headers, and how often others have been refused.

    trusted: as for TrustedPeers. clock: returns seconds.
    """

    def __init__(self, trusted: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._peers = TrustedPeers(trusted)
        self._clock = clock
        self._refused = 0  # since the last line of the log
        self._next_line = -inf

    def trusts(self, peer: str) -> bool:
        """Tell whether a peer may say who its clients are: "-" is one on a Unix socket."""
        return self._peers.has_unix if peer == _NO_ADDRESS else self._peers.has_address(peer)

    def accepts(self, peer: str) -> bool:
        """Tell whether a peer is trusted; if not, its connection is refused."""
        if self.trusts(peer):
            return True
        self.refuse(peer, "no proxy that is trusted")
        return False

    def new_reader(self, peer: str) -> HeaderReader:
        """Return what reads the header of a connection."""
        return HeaderReader(self, peer)

    def refuse(self, peer: str, reason: str) -> None:
        """Log that a connection is closed: one line a minute, which says how many there were."""
        self._refused += 1
        now = self._clock()
        if now < self._next_line:
            return
        others = self._refused - 1
        more = f" ({others:,} more since the last line)" if others else ""
        _logger.warning("closed a connection from %s: %s%s", peer, reason, more)
        self._refused, self._next_line = 0, now + _LINE_INTERVAL
