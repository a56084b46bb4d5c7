"""What many threads share, and use one at a time."""

import threading

from aserve.models.admissions import Admission, Admissions
from aserve.models.conversation import Conversation
from aserve.models.owner import Observe
from aserve.semantics.messages import Request


class SharedAdmissions(Admissions[Conversation]):
    """Admissions for many threads."""

    def __init__(self, most: int, most_per_client: int) -> None:
        super().__init__(most, most_per_client)
        self._lock = threading.Lock()

    def admit(self, guest: Conversation) -> Admission:
        """Take a connection into account, or tell that it is one too many."""
        with self._lock:
            return super().admit(guest)

    def forget(self, guest: Conversation) -> None:
        """Drop a connection that is gone; more than once is harmless."""
        with self._lock:
            if guest in self.open:
                super().forget(guest)


def one_at_a_time(observe: Observe | None) -> Observe | None:
    """Tell by one thread at a time: the log's counters are made for no more."""
    if not observe:
        return None
    lock, tell = threading.Lock(), observe

    def locked(client: str, request: Request, status: int, octets: int, began: float) -> None:
        with lock:
            tell(client, request, status, octets, began)

    return locked
