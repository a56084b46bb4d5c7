"""Limits on connections and descriptors: for the whole process and for each client."""

import enum
import errno
import resource
from collections import Counter
from collections.abc import Callable
from typing import Generic, NamedTuple, Protocol, TypeVar

from aserve.http.subscribers import NO_ADDRESS, subscriber_of
from aserve.http1.limits import Limits

RESOURCE_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors of accept when descriptors or memory run out. A server that retries at once would spin."""

# Descriptors for the loop, the log, files that are being read, and rejected connections.
_RESERVED_DESCRIPTORS = 64
# Connections over the limit that may be open until their 503 has arrived.
_MIN_REJECTED, _MAX_REJECTED = 16, 1_024


Subscriber = str | bytes


class ProcessLimits(NamedTuple):
    """The most connections and descriptors, in total and for one client (see subscriber_of).

    Descriptors limit both: a connection has one, and a second one while it sends a file or carries
    a tunnel. rejected: connections besides these that may be open until their 503 has arrived.
    max_fd, threads: those of process_limits.
    """

    connections: int
    connections_per_client: int
    descriptors: int
    descriptors_per_client: int
    rejected: int = _MIN_REJECTED
    max_fd: int = 0
    threads: int = 0


def process_limits(limits: Limits, max_fd: int = 0, threads: int = 0) -> ProcessLimits:
    """Return the limits of one process.

    max_fd: descriptors from this number on cannot be polled, 0 for no such bound. threads: how many
    connections can be served at the same time, each by a thread, 0 for any number. Unless limits
    say otherwise, one address gets three quarters at most, so that it cannot lock out the others.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors = max(1, min(soft, max_fd or soft) - _RESERVED_DESCRIPTORS)
    connections = min(limits.max_connections, threads or descriptors, descriptors)
    share = limits.max_connections_per_ip or _share(connections)
    spare = descriptors - 2 * connections  # each has its own descriptor, and one for a file
    rejected = min(max(spare, _MIN_REJECTED), _MAX_REJECTED)
    per_client = max(share, _share(descriptors))
    return ProcessLimits(connections, share, descriptors, per_client, rejected, max_fd, threads)


def _share(number: int) -> int:
    return max(1, number * 3 // 4)


class Decision(enum.Enum):
    """What to do with a new connection."""

    ACCEPT = enum.auto()
    REJECT = enum.auto()
    """Answer 503: too many connections are open."""
    DROP = enum.auto()
    """Close it at once: too many connections already wait for their 503."""


class Limited(Protocol):
    """A connection that is limited. Looking up the address of its peer may be expensive.

    is_shared: whether it is that of a proxy with many clients, and counts for none of them.
    """

    is_shared: bool

    @property
    def peer(self) -> str:
        """Return the address at its other end."""


class EvictableFiles(Protocol):
    """Cached open files, which are closed when connections need their descriptors."""

    max_open_files: int

    @property
    def open_files(self) -> int:
        """Return the number of open files."""

    def evict_files(self, count: int) -> object:
        """Close at least count files, or all of them if there are fewer."""


G = TypeVar("G", bound=Limited)


class ConnectionLimiter(Generic[G]):
    """Counts the connections of one process and the descriptors that they hold.

    open_files: files that are counted too, and evicted first when descriptors run short.
    """

    def __init__(self, limits: ProcessLimits, open_files: EvictableFiles | None = None) -> None:
        self.connections: set[G] = set()
        self._rejected: set[G] = set()
        self._extra_descriptors: dict[G, int] = {}  # besides each connection's own
        self._extra_descriptors_total = 0
        # None while all clients together hold less than the share of one. No client can exceed its
        # share then, and no address is looked up, which costs two system calls and their objects.
        self._by_client: Counter[Subscriber] | None = None
        self._descriptors_by_client: Counter[Subscriber] = Counter()
        self._is_closed = False
        self.change_limits(limits, open_files)

    @property
    def limits(self) -> ProcessLimits:
        """The limits that apply."""
        return self._limits

    def change_limits(
        self, limits: ProcessLimits, open_files: EvictableFiles | None = None
    ) -> None:
        """Apply other limits from now on. Connections that are open stay, and are counted."""
        self._limits = limits
        self._open_files = open_files
        # Up to this number of descriptors, cached files fit in any case and need no counting.
        self._uncounted_up_to = limits.descriptors - (
            open_files.max_open_files if open_files else 0
        )
        # Up to this number of descriptors, no limit can be exceeded.
        self._uncontended_up_to = min(
            self._uncounted_up_to, limits.connections, limits.connections_per_client
        )
        self._by_client = None  # counted anew when a limit may be reached
        self._descriptors_by_client.clear()

    def admit(self, connection: G) -> Decision:
        """Count a new connection and decide whether it is accepted.

        A rejected connection stays open until its 503 has arrived. The number of those is limited
        too, or they would take the descriptors of the connections that are served.
        """
        self.connections.add(connection)
        if self._is_closed:  # it was accepted just before the listener closed
            self._rejected.add(connection)
            return Decision.DROP
        served = len(self.connections) - len(self._rejected)
        held = served + self._extra_descriptors_total
        if held <= self._uncontended_up_to and self._by_client is None:
            return Decision.ACCEPT
        if (
            served <= self._limits.connections
            and self._has_descriptors(held)
            and self._charge_client(connection, 1, 1)
        ):
            return Decision.ACCEPT
        self._rejected.add(connection)
        return Decision.REJECT if len(self._rejected) <= self._limits.rejected else Decision.DROP

    def recount(self, connection: G, name_client: Callable[[], None]) -> Decision:
        """Count a connection as that of another peer; decide whether it is still accepted.

        name_client: gives it the peer that it has from now on, and says whether it is shared.
        """
        self.remove(connection)
        name_client()
        return self.admit(connection)

    def reserve_descriptors(self, connection: G, descriptors: int) -> bool:
        """Count descriptors that a connection needs besides its own; False if there are too few."""
        served = len(self.connections) - len(self._rejected)
        held = served + self._extra_descriptors_total + descriptors
        is_uncontended = held <= self._uncontended_up_to and self._by_client is None
        if not is_uncontended and not (
            self._has_descriptors(held) and self._charge_client(connection, 0, descriptors)
        ):
            return False
        self._extra_descriptors[connection] = (
            self._extra_descriptors.get(connection, 0) + descriptors
        )
        self._extra_descriptors_total += descriptors
        return True

    def release_descriptors(self, connection: G) -> None:
        """Release the descriptors that a connection had reserved."""
        if descriptors := self._extra_descriptors.pop(connection, 0):
            self._extra_descriptors_total -= descriptors
            if self._by_client is not None and not connection.is_shared:
                self._descriptors_by_client[subscriber_of(connection.peer)] -= descriptors

    def remove(self, connection: G) -> None:
        """Remove a closed connection. Calling it again has no effect."""
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        if connection in self._extra_descriptors:
            self.release_descriptors(connection)
        if connection in self._rejected:
            self._rejected.discard(connection)
        elif self._by_client is not None:
            self._uncharge_client(connection)

    def close(self) -> None:
        """Accept no more connections."""
        self._is_closed = True

    def _has_descriptors(self, held: int) -> bool:
        """Return whether there are enough descriptors, evicting cached files if necessary."""
        if held <= self._uncounted_up_to:
            return True
        if files := self._open_files:
            missing = held + files.open_files - self._limits.descriptors
            if missing > 0:
                files.evict_files(missing)
        return held <= self._limits.descriptors

    def _charge_client(self, connection: G, connections: int, descriptors: int) -> bool:
        """Charge connections and descriptors to a client address; False if it has too many."""
        limits = self._limits
        if self._by_client is None:
            served = len(self.connections) - len(self._rejected)
            held = served + self._extra_descriptors_total + (0 if connections else descriptors)
            if served <= limits.connections_per_client and held <= limits.descriptors_per_client:
                return True
            self._by_client = self._count_by_client(connection if connections else None)
        if connection.is_shared:
            return True
        client = subscriber_of(connection.peer)
        by_client, held_by = self._by_client, self._descriptors_by_client
        if client != NO_ADDRESS and (
            by_client[client] + connections > limits.connections_per_client
            or held_by[client] + descriptors > limits.descriptors_per_client
        ):
            return False
        by_client[client] += connections
        held_by[client] += descriptors
        return True

    def _count_by_client(self, newcomer: G | None) -> Counter[Subscriber]:
        """Count the connections and descriptors of each address, without the newcomer's."""
        by_client = Counter(
            subscriber_of(connection.peer)
            for connection in self.connections
            if not (connection.is_shared or connection is newcomer or connection in self._rejected)
        )
        self._descriptors_by_client = Counter(by_client)
        for connection, descriptors in self._extra_descriptors.items():
            if not connection.is_shared:
                self._descriptors_by_client[subscriber_of(connection.peer)] += descriptors
        return by_client

    def _uncharge_client(self, connection: G) -> None:
        client = None if connection.is_shared else subscriber_of(connection.peer)
        for counts in (self._by_client, self._descriptors_by_client):
            if counts and client is not None:
                counts[client] -= 1
                if not counts[client]:
                    del counts[client]
        # Stop counting well below the share only. Otherwise a client that connects and disconnects
        # would have all connections counted anew each time.
        limits = self._limits
        held = len(self.connections) + self._extra_descriptors_total
        if held < min(limits.connections_per_client, limits.descriptors_per_client) * 7 // 8 + 1:
            self._by_client = None
            self._descriptors_by_client.clear()
