"""Who is let in: so many connections and descriptors in all, and so many from one address."""

import enum
import errno
import resource
from collections import Counter
from typing import Generic, NamedTuple, Protocol, TypeVar

from aserve.wire.limits import Limits

NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What accept says that is out of descriptors, or of memory: whoever asks again at once spins."""

_SPARE_FILES = 64  # descriptors for the loop, the log, files that are read, and the refused
_MOST_REFUSED = 16  # connections at once that get a reply although there is no room for them


class Bounds(NamedTuple):
    """How many connections, and how many descriptors, in all and for one address.

    Descriptors bound both: a connection has one, another while a file or a tunnel is sent on it.
    """

    connections: int
    connections_per_client: int
    descriptors: int
    descriptors_per_client: int


def bounds_of(limits: Limits, watchable: int = 0, threads: int = 0) -> Bounds:
    """Return the bounds of one process.

    watchable: descriptors from this number on cannot be watched; threads: connections that can be
    served at once, each by a thread; 0: any number. Unless limits say so, no address gets more
    than three quarters: nobody can lock out the others.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors = max(1, min(soft, watchable or soft) - _SPARE_FILES)
    connections = min(limits.connections, threads or descriptors, descriptors)
    share = limits.connections_per_client or _share(connections)
    return Bounds(connections, share, descriptors, max(share, _share(descriptors)))


def _share(number: int) -> int:
    return max(1, number * 3 // 4)


class Admission(enum.Enum):
    """What becomes of a new connection."""

    WELCOME = enum.auto()
    REFUSED = enum.auto()
    """It is told that there are too many."""
    CUT_OFF = enum.auto()
    """There are even too many to be told."""


class Guest(Protocol):
    """What is let in. client: its address; asking for it may take a while."""

    @property
    def client(self) -> str:
        """Return the address."""


class OpenFiles(Protocol):
    """Files that are kept open for responses to come, and are given up for connections."""

    max_open_files: int

    @property
    def open_files(self) -> int:
        """Return how many are open."""

    def release_descriptors(self, count: int) -> object:
        """Close at least so many, or all of them."""


G = TypeVar("G", bound=Guest)


class Admissions(Generic[G]):
    """The connections of one process, and the descriptors that they hold.

    open_files: what is counted too, and given up first, when descriptors get scarce.
    """

    def __init__(self, bounds: Bounds, open_files: OpenFiles | None = None) -> None:
        self.open: set[G] = set()
        self._bounds = bounds
        self._open_files = open_files
        # Up to here, files that are kept open fit in any case and need not be counted.
        self._plenty = bounds.descriptors - (open_files.max_open_files if open_files else 0)
        self._calm = min(self._plenty, *bounds)  # so many descriptors go against no bound
        self._refused: set[G] = set()
        self._extra: dict[G, int] = {}  # descriptors beside the connection's own
        self._extra_total = 0
        # None while all together have less than one client's share: then none can have more, and
        # nobody's address is asked for, which costs two system calls and their objects.
        self._by_client: Counter[str] | None = None
        self._descriptors_by_client: Counter[str] = Counter()
        self._shut = False

    def admit(self, guest: G) -> Admission:
        """Take a connection into account, or tell that it is one too many.

        Those that are told so wait for their last reply to arrive: of them, too, there are only
        so many, or they would use up the descriptors in place of those that are served.
        """
        self.open.add(guest)
        if self._shut:  # it was accepted a moment too late
            self._refused.add(guest)
            return Admission.CUT_OFF
        served = len(self.open) - len(self._refused)
        held = served + self._extra_total
        if held <= self._calm and self._by_client is None:
            return Admission.WELCOME
        if (
            served <= self._bounds.connections
            and self._fits(held)
            and self._has_a_share(guest, 1, 1)
        ):
            return Admission.WELCOME
        self._refused.add(guest)
        return Admission.REFUSED if len(self._refused) <= _MOST_REFUSED else Admission.CUT_OFF

    def reserve(self, guest: G, descriptors: int) -> bool:
        """Take descriptors into account that a connection holds beside its own, if they fit."""
        served = len(self.open) - len(self._refused)
        held = served + self._extra_total + descriptors
        calm = held <= self._calm and self._by_client is None
        if not calm and not (self._fits(held) and self._has_a_share(guest, 0, descriptors)):
            return False
        self._extra[guest] = self._extra.get(guest, 0) + descriptors
        self._extra_total += descriptors
        return True

    def release(self, guest: G) -> None:
        """Note that a connection holds no descriptor any more beside its own."""
        if descriptors := self._extra.pop(guest, 0):
            self._extra_total -= descriptors
            if self._by_client is not None:
                self._descriptors_by_client[guest.client] -= descriptors

    def forget(self, guest: G) -> None:
        """Drop a connection that is gone; more than once is harmless."""
        if guest not in self.open:
            return
        self.open.discard(guest)
        if guest in self._extra:
            self.release(guest)
        if guest in self._refused:
            self._refused.discard(guest)
        elif self._by_client is not None:
            self._uncount(guest.client)

    def shut(self) -> None:
        """Let nobody in any more."""
        self._shut = True

    def _fits(self, held: int) -> bool:
        """Tell whether there are so many descriptors, for which files may have to be given up."""
        if held <= self._plenty:
            return True
        if files := self._open_files:
            missing = held + files.open_files - self._bounds.descriptors
            if missing > 0:
                files.release_descriptors(missing)
        return held <= self._bounds.descriptors

    def _has_a_share(self, guest: G, connections: int, descriptors: int) -> bool:
        """Count what a connection asks for as its address's, unless that would be too much."""
        bounds = self._bounds
        if self._by_client is None:
            served = len(self.open) - len(self._refused)
            held = served + self._extra_total + (0 if connections else descriptors)
            if served <= bounds.connections_per_client and held <= bounds.descriptors_per_client:
                return True
            self._by_client = self._count(guest if connections else None)
        client, by_client, held_by = guest.client, self._by_client, self._descriptors_by_client
        if (
            by_client[client] + connections > bounds.connections_per_client
            or held_by[client] + descriptors > bounds.descriptors_per_client
        ):
            return False
        by_client[client] += connections
        held_by[client] += descriptors
        return True

    def _count(self, newcomer: G | None) -> Counter[str]:
        """Count what each address has; whoever is just being let in is not counted yet."""
        served = [one for one in self.open if one is not newcomer and one not in self._refused]
        by_client = Counter(one.client for one in served)
        self._descriptors_by_client = Counter(by_client)
        for guest, descriptors in self._extra.items():
            self._descriptors_by_client[guest.client] += descriptors
        return by_client

    def _uncount(self, client: str) -> None:
        for counts in (self._by_client, self._descriptors_by_client):
            if counts:
                counts[client] -= 1
                if not counts[client]:
                    del counts[client]
        # Well below the share, or whoever comes and goes would have everybody counted each time.
        bounds = self._bounds
        held = len(self.open) + self._extra_total
        if held < min(bounds.connections_per_client, bounds.descriptors_per_client) * 7 // 8 + 1:
            self._by_client = None
            self._descriptors_by_client.clear()
