"""Who is let in: so many connections and descriptors in all, and so many from one address."""

import enum
import errno
import resource
from collections import Counter
from typing import Generic, NamedTuple, Protocol, TypeVar

from aserve.http1.limits import Limits

RESOURCE_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What accept says that is out of descriptors, or of memory: whoever asks again at once spins."""

_RESERVED_DESCRIPTORS = (
    64  # descriptors for the loop, the log, files that are read, and the refused
)
_MAX_REJECTED = 16  # connections at once that get a reply although there is no room for them


class ProcessLimits(NamedTuple):
    """How many connections, and how many descriptors, in all and for one address.

    Descriptors bound both: a connection has one, another while a file or a tunnel is sent on it.
    """

    connections: int
    connections_per_client: int
    descriptors: int
    descriptors_per_client: int


def process_limits(limits: Limits, max_fd: int = 0, threads: int = 0) -> ProcessLimits:
    """Return the bounds of one process.

    watchable: descriptors from this number on cannot be watched; threads: connections that can be
    served at once, each by a thread; 0: any number. Unless limits say so, no address gets more
    than three quarters: nobody can lock out the others.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors = max(1, min(soft, max_fd or soft) - _RESERVED_DESCRIPTORS)
    connections = min(limits.max_connections, threads or descriptors, descriptors)
    share = limits.max_connections_per_ip or _share(connections)
    return ProcessLimits(connections, share, descriptors, max(share, _share(descriptors)))


def _share(number: int) -> int:
    return max(1, number * 3 // 4)


class Decision(enum.Enum):
    """What becomes of a new connection."""

    ACCEPT = enum.auto()
    REJECT = enum.auto()
    """It is told that there are too many."""
    DROP = enum.auto()
    """There are even too many to be told."""


class Limited(Protocol):
    """What is let in. client: its address; asking for it may take a while."""

    @property
    def client(self) -> str:
        """Return the address."""


class EvictableFiles(Protocol):
    """Files that are kept open for responses to come, and are given up for connections."""

    max_open_files: int

    @property
    def open_files(self) -> int:
        """Return how many are open."""

    def evict_files(self, count: int) -> object:
        """Close at least so many, or all of them."""


G = TypeVar("G", bound=Limited)


class ConnectionLimiter(Generic[G]):
    """The connections of one process, and the descriptors that they hold.

    open_files: what is counted too, and given up first, when descriptors get scarce.
    """

    def __init__(self, bounds: ProcessLimits, open_files: EvictableFiles | None = None) -> None:
        self.connections: set[G] = set()
        self._limits = bounds
        self._open_files = open_files
        # Up to here, files that are kept open fit in any case and need not be counted.
        self._uncounted_up_to = bounds.descriptors - (
            open_files.max_open_files if open_files else 0
        )
        self._uncontended_up_to = min(
            self._uncounted_up_to, *bounds
        )  # so many descriptors go against no bound
        self._rejected: set[G] = set()
        self._extra_descriptors: dict[G, int] = {}  # descriptors beside the connection's own
        self._extra_descriptors_total = 0
        # None while all together have less than one client's share: then none can have more, and
        # nobody's address is asked for, which costs two system calls and their objects.
        self._by_client: Counter[str] | None = None
        self._descriptors_by_client: Counter[str] = Counter()
        self._is_closed = False

    def admit(self, connection: G) -> Decision:
        """Take a connection into account, or tell that it is one too many.

        Those that are told so wait for their last reply to arrive: of them, too, there are only
        so many, or they would use up the descriptors in place of those that are served.
        """
        self.connections.add(connection)
        if self._is_closed:  # it was accepted a moment too late
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
        return Decision.REJECT if len(self._rejected) <= _MAX_REJECTED else Decision.DROP

    def reserve_descriptors(self, connection: G, descriptors: int) -> bool:
        """Take descriptors into account that a connection holds beside its own, if they fit."""
        served = len(self.connections) - len(self._rejected)
        held = served + self._extra_descriptors_total + descriptors
        calm = held <= self._uncontended_up_to and self._by_client is None
        if not calm and not (
            self._has_descriptors(held) and self._charge_client(connection, 0, descriptors)
        ):
            return False
        self._extra_descriptors[connection] = (
            self._extra_descriptors.get(connection, 0) + descriptors
        )
        self._extra_descriptors_total += descriptors
        return True

    def release_descriptors(self, connection: G) -> None:
        """Note that a connection holds no descriptor any more beside its own."""
        if descriptors := self._extra_descriptors.pop(connection, 0):
            self._extra_descriptors_total -= descriptors
            if self._by_client is not None:
                self._descriptors_by_client[connection.client] -= descriptors

    def remove(self, connection: G) -> None:
        """Drop a connection that is gone; more than once is harmless."""
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        if connection in self._extra_descriptors:
            self.release_descriptors(connection)
        if connection in self._rejected:
            self._rejected.discard(connection)
        elif self._by_client is not None:
            self._uncharge_client(connection.client)

    def close(self) -> None:
        """Let nobody in any more."""
        self._is_closed = True

    def _has_descriptors(self, held: int) -> bool:
        """Tell whether there are so many descriptors, for which files may have to be given up."""
        if held <= self._uncounted_up_to:
            return True
        if files := self._open_files:
            missing = held + files.open_files - self._limits.descriptors
            if missing > 0:
                files.evict_files(missing)
        return held <= self._limits.descriptors

    def _charge_client(self, connection: G, connections: int, descriptors: int) -> bool:
        """Count what a connection asks for as its address's, unless that would be too much."""
        bounds = self._limits
        if self._by_client is None:
            served = len(self.connections) - len(self._rejected)
            held = served + self._extra_descriptors_total + (0 if connections else descriptors)
            if served <= bounds.connections_per_client and held <= bounds.descriptors_per_client:
                return True
            self._by_client = self._count_by_client(connection if connections else None)
        client, by_client, held_by = connection.client, self._by_client, self._descriptors_by_client
        if (
            by_client[client] + connections > bounds.connections_per_client
            or held_by[client] + descriptors > bounds.descriptors_per_client
        ):
            return False
        by_client[client] += connections
        held_by[client] += descriptors
        return True

    def _count_by_client(self, newcomer: G | None) -> Counter[str]:
        """Count what each address has; whoever is just being let in is not counted yet."""
        served = [
            one for one in self.connections if one is not newcomer and one not in self._rejected
        ]
        by_client = Counter(one.client for one in served)
        self._descriptors_by_client = Counter(by_client)
        for guest, descriptors in self._extra_descriptors.items():
            self._descriptors_by_client[guest.client] += descriptors
        return by_client

    def _uncharge_client(self, client: str) -> None:
        for counts in (self._by_client, self._descriptors_by_client):
            if counts:
                counts[client] -= 1
                if not counts[client]:
                    del counts[client]
        # Well below the share, or whoever comes and goes would have everybody counted each time.
        bounds = self._limits
        held = len(self.connections) + self._extra_descriptors_total
        if held < min(bounds.connections_per_client, bounds.descriptors_per_client) * 7 // 8 + 1:
            self._by_client = None
            self._descriptors_by_client.clear()
