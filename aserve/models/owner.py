"""What a connection and the model that it belongs to say to each other."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from aserve.models.admissions import Admission
from aserve.models.room import Room
from aserve.models.thread_pool import ThreadPool
from aserve.semantics.messages import Piece, Request, Response
from aserve.site.recall import Kept, Key, Recall
from aserve.wire.limits import Limits


class Observe(Protocol):
    """Is told of each response, when it has left or has been cut short."""

    def __call__(  # noqa: PLR0913, PLR0917 - called for each request: no time for a value of its own
        self,
        client: str,
        request: Request,
        status: int,
        octets: int,
        began: float,
        cut: bool = False,
        /,
    ) -> None:
        """Note a response.

        octets: bytes of content sent; began: POSIX time; cut: the rest was not sent.
        """


TellRemaining = Callable[[int, int], None]
"""Is told, when a server stops, how many responses are still being sent, and how many connections
are still open."""

C_contra = TypeVar("C_contra", contravariant=True)


class Answer(NamedTuple):
    """A response on its way back.

    key: what decides it, where that is worth remembering; at_once: no disk was waited for.
    """

    response: Response
    key: Key | None = None
    at_once: bool = False


class Owner(Protocol[C_contra]):
    """What a connection asks of its model."""

    limits: Limits
    loop: asyncio.AbstractEventLoop
    pool: ThreadPool
    room: Room
    observe: Observe | None
    recall: Recall | None

    def admit(self, connection: C_contra) -> Admission:
        """Take a connection into account, or tell that it is one too many."""

    def forget(self, connection: C_contra) -> None:
        """Drop a connection that is gone."""

    def reserve(self, connection: C_contra) -> bool:
        """Take one more descriptor of a connection into account; tell whether there is one."""

    def release(self, connection: C_contra) -> None:
        """Note that a connection holds no descriptor any more beside its own."""

    def answer(
        self, request: Request, done: Callable[[Answer], None], *, persists: bool
    ) -> Kept | Answer | None:
        """Return the reply, or None where done will get it."""

    def remember(
        self, request: Request, answer: Answer, pieces: Sequence[Piece], *, closes: bool
    ) -> None:
        """Take note of the reply that an answer has become; closes: the connection ends with it."""
