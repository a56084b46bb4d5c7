"""What many threads share, and use one at a time."""

import threading

from aserve.models.admissions import Admission, Admissions, Bounds
from aserve.models.conversation import Conversation
from aserve.models.owner import Observe
from aserve.semantics.messages import Request


class SharedAdmissions(Admissions[Conversation]):
    """Admissions for many threads."""

    def __init__(self, bounds: Bounds) -> None:
        super().__init__(bounds)
        self._lock = threading.RLock()

    def admit(self, guest: Conversation) -> Admission:
        """Take a connection into account, or tell that it is one too many."""
        with self._lock:
            return super().admit(guest)

    def reserve(self, guest: Conversation, descriptors: int) -> bool:
        """Take descriptors into account that a connection holds beside its own, if they fit."""
        with self._lock:
            return super().reserve(guest, descriptors)

    def release(self, guest: Conversation) -> None:
        """Note that a connection holds no descriptor any more beside its own."""
        with self._lock:
            super().release(guest)

    def forget(self, guest: Conversation) -> None:
        """Drop a connection that is gone; more than once is harmless."""
        with self._lock:
            super().forget(guest)


def one_at_a_time(observe: Observe | None) -> Observe | None:
    """Tell by one thread at a time: the log's counters are made for no more."""
    if not observe:
        return None
    lock, tell = threading.Lock(), observe

    def locked(  # noqa: PLR0913, PLR0917 - Observe
        client: str,
        request: Request,
        status: int,
        octets: int,
        began: float,
        cut: bool = False,
    ) -> None:
        with lock:
            tell(client, request, status, octets, began, cut)

    return locked
