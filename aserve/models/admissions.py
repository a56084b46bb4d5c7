"""Who is let in: so many connections in all, and so many from one address."""

import enum
import errno
import resource
from collections import Counter
from typing import Generic, Protocol, TypeVar

from aserve.wire.limits import Limits

NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What accept says that is out of descriptors, or of memory: whoever asks again at once spins."""

_SPARE_FILES = 64  # descriptors for the loop, the log, files that are read, and the refused
_MOST_REFUSED = 16  # connections at once that get a reply although there is no room for them


def most_connections(limits: Limits) -> int:
    """Return how many may be open at once: as many as there are descriptors for, if not fewer."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limits.connections or max(1, soft - _SPARE_FILES)


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


G = TypeVar("G", bound=Guest)


class Admissions(Generic[G]):
    """The connections of one event loop.

    most: how many may be open; most_per_client: how many of them from one address.
    """

    def __init__(self, most: int, most_per_client: int) -> None:
        self.open: set[G] = set()
        self._most = most
        self._most_per_client = most_per_client
        self._refused: set[G] = set()
        # None while all together have less than one client's share: then none can have more, and
        # nobody's address is asked for, which costs two system calls and their objects.
        self._by_client: Counter[str] | None = None
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
        if len(self.open) - len(self._refused) <= self._most and self._has_a_share(guest):
            return Admission.WELCOME
        self._refused.add(guest)
        return Admission.REFUSED if len(self._refused) <= _MOST_REFUSED else Admission.CUT_OFF

    def forget(self, guest: G) -> None:
        """Drop a connection that is gone."""
        self.open.discard(guest)
        if guest in self._refused:
            self._refused.discard(guest)
        elif self._by_client is not None:
            self._by_client[guest.client] -= 1
            if not self._by_client[guest.client]:
                del self._by_client[guest.client]
            if len(self.open) < self._most_per_client:
                self._by_client = None

    def shut(self) -> None:
        """Let nobody in any more."""
        self._shut = True

    def _has_a_share(self, guest: G) -> bool:
        if len(self.open) <= self._most_per_client:
            return True
        if self._by_client is None:
            served = self.open - self._refused
            self._by_client = Counter(one.client for one in served if one is not guest)
        if self._by_client[guest.client] >= self._most_per_client:
            return False
        self._by_client[guest.client] += 1
        return True
