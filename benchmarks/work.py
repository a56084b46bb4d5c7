"""What is measured: one Work for each row of the tables."""

from dataclasses import dataclass

from benchmarks.figures import Goal
from benchmarks.kinds import Kind


@dataclass(frozen=True, slots=True)
class Work:
    """One row: its name and title, how and beside whom it is measured, and the goals.

    servers: the contenders, which are load generators in some rows. peer: the one that the others
    are put in relation to. note: what a reader should know. once: whether one round is enough.
    folders: whether it needs the directories of many files, which take a minute to make.
    """

    name: str
    title: str
    kind: Kind
    servers: tuple[str, ...]
    goals: tuple[Goal, ...] = ()
    peer: str = "nginx"
    note: str = ""
    once: bool = False
    folders: bool = False
