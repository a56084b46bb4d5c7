"""A body in which a number counts up, as the pieces between which the number goes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from abench.plan.target import PLACEHOLDER


@dataclass(frozen=True, slots=True)
class BodyTemplate:
    """The pieces of a body between which a number goes; its length is that of the pieces."""

    pieces: tuple[bytes, ...] = (b"",)

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Return a body with a number in place of each placeholder."""
        return cls(tuple(body.split(PLACEHOLDER)))

    @classmethod
    def literal(cls, body: bytes) -> Self:
        """Return a body that is sent as it is, whatever is in it."""
        return cls((body,))

    @classmethod
    def join(cls, bodies: Iterable["BodyTemplate"]) -> Self:
        """Return bodies as one, each after the one before."""
        runs: list[list[bytes]] = [[]]
        for body in bodies:
            first, *others = body.pieces
            runs[-1].append(first)
            runs += [[other] for other in others]
        return cls(tuple(map(b"".join, runs)))

    def __len__(self) -> int:
        return sum(map(len, self.pieces))
