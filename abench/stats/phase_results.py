"""The results of a run by phase: how long each took, and how often it happened."""

from dataclasses import dataclass, fields
from typing import Annotated

from abench.stats.derivation import Run
from abench.stats.figure import Figure
from abench.stats.histogram import Histogram
from abench.stats.latency import Latency
from abench.stats.phases import PHASES


@dataclass(frozen=True, slots=True)
class PhaseResult:
    """How often a phase happened, and how long it took."""

    count: Annotated[int, Figure("Count", "How often the phase happened.")]
    latency: Annotated[Latency, Figure(inline=True)]

    @classmethod
    def of(cls, histogram: Histogram) -> "PhaseResult | None":
        """Return the result of a phase; None if it never happened."""
        return cls(histogram.count, Latency.of(histogram)) if histogram.counts else None


def _figure(name: str) -> Figure:
    title, text = PHASES[name]
    return Figure(title, f"{text} Null if it never happened.", "us")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseResults:
    """How long each phase took, of those that happened."""

    lookup: Annotated[PhaseResult | None, _figure("lookup")] = None
    connect: Annotated[PhaseResult | None, _figure("connect")] = None
    handshake: Annotated[PhaseResult | None, _figure("handshake")] = None
    request: Annotated[PhaseResult | None, _figure("request")] = None
    first_byte: Annotated[PhaseResult | None, _figure("first_byte")] = None
    transfer: Annotated[PhaseResult | None, _figure("transfer")] = None

    @property
    def found(self) -> dict[str, PhaseResult]:
        """The phases that happened, by the name for people, in their order."""
        each = ((one.name, getattr(self, one.name)) for one in fields(self))
        return {name.replace("_", " "): result for name, result in each if result}


def phase_results(run: Run) -> PhaseResults:
    """Return how long each phase of a run took."""
    counted = run.summary.phases
    return PhaseResults(**{name: PhaseResult.of(getattr(counted, name)) for name in PHASES})
