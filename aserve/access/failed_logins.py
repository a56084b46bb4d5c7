"""Which clients have guessed passwords: a table with a bound, and with time as an argument."""

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from threading import Lock

MAX_FAILURES = 10
WINDOW_S = 600
"""So many failures in so many seconds, and a client is not heard for as long."""
_MAX_CLIENTS = 10_000
_PREFIX_BITS = 64
"""Of an IPv6 address, what names a network: a host has all addresses in it."""


class FailedLogins:
    """Counts different wrong logins by client. Any thread may use it.

    The same wrong login again counts once, since nothing is learnt from it: a program that was left
    with an old password keeps no one out. The oldest of too many clients is forgotten. now: POSIX
    seconds, of whichever clock.
    """

    def __init__(
        self,
        max_failures: int = MAX_FAILURES,
        window: int = WINDOW_S,
        max_clients: int = _MAX_CLIENTS,
    ) -> None:
        self._max_failures = max_failures
        self._window = window
        self._max_clients = max_clients
        self._clients: OrderedDict[str, _Failures] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        """Return how many clients are known."""
        return len(self._clients)

    def retry_after(self, client: str, now: int) -> int:
        """Return for how many seconds a client is not heard, 0 if it is."""
        if not self._clients:
            return 0
        with self._lock:
            failures = self._find(client, now)
            if failures and len(failures.logins) >= self._max_failures:
                return failures.ends_at - now
            return 0

    def has(self, client: str, login: bytes, now: int) -> bool:
        """Tell whether a login of a client is known to be wrong."""
        if not self._clients:
            return False
        with self._lock:
            failures = self._find(client, now)
            return failures is not None and login in failures.logins

    def add(self, client: str, login: bytes, now: int) -> None:
        """Count a wrong login of a client. login: what stands for it, of a fixed size."""
        with self._lock:
            failures = self._find(client, now)
            if failures is None:
                while len(self._clients) >= self._max_clients:
                    self._clients.popitem(last=False)
                failures = self._clients[network_of(client)] = _Failures(now + self._window)
            failures.logins.add(login)
            if len(failures.logins) == self._max_failures:
                failures.ends_at = now + self._window

    def _find(self, client: str, now: int) -> "_Failures | None":
        network = network_of(client)
        failures = self._clients.get(network)
        if failures and failures.ends_at <= now:
            del self._clients[network]
            return None
        return failures


class _Failures:
    """The wrong logins of one client, until when they count."""

    __slots__ = ("ends_at", "logins")

    def __init__(self, ends_at: int) -> None:
        self.ends_at = ends_at
        self.logins: set[bytes] = set()


def network_of(client: str) -> str:
    """Return what an address counts as: an IPv6 network, or an IPv4 address, however it is said."""
    try:
        address = ip_address(client.partition("%")[0])
    except ValueError:
        return client
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(IPv6Address(int(address) >> _PREFIX_BITS << _PREFIX_BITS))
