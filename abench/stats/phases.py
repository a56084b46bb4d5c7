"""The phases of requests and of the connections for them: where the time of a run went."""

from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

from abench.stats import counts
from abench.stats.counts import HISTOGRAM, Rule
from abench.stats.histogram import Histogram


class Phase(NamedTuple):
    """The name of a phase for people, and what is measured."""

    title: str
    text: str


PHASES = {
    "lookup": Phase(
        "Lookup times",
        "How long it took to find the addresses of the host's name, before the run: once, or once "
        "on each node of a cluster. An address is not looked up.",
    ),
    "connect": Phase(
        "Connect times",
        "From opening a connection until TCP, or a proxy's tunnel, was open, of connections that "
        "were opened while the clock ran.",
    ),
    "handshake": Phase(
        "Handshake times",
        "From then until TLS was open, of the same connections.",
    ),
    "request": Phase(
        "Request times",
        "From sending a request, or from when the connection was open that it waited for, to the "
        "last byte of its response, of successes with a connection of their own: their service "
        "times without connect and handshake.",
    ),
    "first_byte": Phase(
        "First byte",
        "From sending a request to the first read of its response, of successes whose response "
        "took more than one read. In all others the first byte came in the same read as the last.",
    ),
    "transfer": Phase(
        "Transfer",
        "From the first read of a response to its last, of the same responses.",
    ),
}
"""Title and text of each phase, in the order in which they happen."""


@dataclass
class Phases:
    """How long each phase took, wherever it happened, in microseconds; see PHASES."""

    lookup: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    connect: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    handshake: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    request: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    first_byte: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    transfer: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)

    def merge(self, other: "Phases") -> None:
        """Add another part of the same run."""
        counts.merge(self, other)


MERGED = Rule(counts.merge_into, counts.encode, lambda plain: counts.decode(Phases, plain))


class PhaseRecorder:
    """The phases of one process since they were last taken: lists of microseconds.

    Connections append to them, and only where a phase happens: those that are kept open, and whose
    responses arrive in one read, never do.
    """

    __slots__ = ("connect", "first_byte", "handshake", "request", "transfer")

    def __init__(self) -> None:
        self.connect: list[int] = []
        self.handshake: list[int] = []
        self.request: list[int] = []
        self.first_byte: list[int] = []
        self.transfer: list[int] = []

    def take(self) -> Phases:
        """Return what was recorded since the last call, and reset it."""
        taken = Phases()
        for name in self.__slots__:
            values = getattr(self, name)
            setattr(taken, name, Histogram.of(values))
            values.clear()  # in place: connections hold its `append`
        return taken
