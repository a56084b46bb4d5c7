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

Observe = Callable[[str, Request, int, int, float], None]
"""Is told of each reply: client, request, status, octets of content sent, POSIX time it began."""

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

    def answer(
        self, request: Request, done: Callable[[Answer], None], *, persists: bool
    ) -> Kept | Answer | None:
        """Return the reply, or None where done will get it."""

    def remember(
        self, request: Request, answer: Answer, pieces: Sequence[Piece], *, closes: bool
    ) -> None:
        """Take note of the reply that an answer has become; closes: the connection ends with it."""
