"""How the rate of a server grows with connections: closed loops, and the law that fits them."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from abench.stats.capacity import End
from abench.stats.capacity_cause import Cause, find_cause
from abench.stats.capacity_search import CONFIDENCE, Interval
from abench.stats.objective import Objective
from abench.stats.results import Results
from abench.stats.scalability import Scalability, fit_scalability

_COEFFICIENTS = 3
_RESAMPLES = 200
_SEED = 20_260_101  # fixed: the same measurements have the same interval


@dataclass(frozen=True, slots=True)
class Point:
    """A closed loop with some connections.

    broken: how each objective was broken that did not hold. metrics: what these are about.
    """

    connections: int
    pages_per_sec: float
    p50_us: int | None
    p99_us: int | None
    error_share: float
    broken: tuple[str, ...]
    metrics: tuple[str, ...]
    cause: Cause

    @classmethod
    def of(cls, report: Results, objectives: Sequence[Objective]) -> "Point":
        """Return what a closed loop shows."""
        broken = {
            one.condition.metric: found for one in objectives if (found := one.broken(report))
        }
        return cls(
            report.plan.connections,
            report.pages_per_sec,
            report.service.percentiles["p50"],
            report.service.percentiles["p99"],
            report.error_share or 0.0,
            tuple(broken.values()),
            tuple(broken),
            find_cause(report),
        )


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """What closed loops with more and more connections have shown.

    points: in the order in which they were measured. client_per_sec: what this client reaches with
    a server that does nothing, None if it was not measured. The rest is as in Capacity.
    """

    url: str
    objectives: tuple[str, ...]
    limit_s: float
    points: tuple[Point, ...] = ()
    client_per_sec: float | None = None
    end: End = End.SURE
    stopped_by: int | None = None
    problem: str = ""

    @cached_property
    def law(self) -> Scalability | None:
        """The law that fits; None if there are too few points for one."""
        return fit_scalability(self._measured())

    def _measured(self) -> list[tuple[int, float]]:
        return [(point.connections, point.pages_per_sec) for point in self.points]

    @property
    def most(self) -> int:
        """The highest number of connections that was tried; 0 before the first."""
        return max((point.connections for point in self.points), default=0)

    @property
    def best(self) -> int:
        """The number of connections with the highest rate by the law, of those up to the most."""
        law = self.law
        return round(min(law.peak, self.most)) if law else 0

    @cached_property
    def interval(self) -> Interval | None:
        """The highest rate by the law up to the most connections, and where it is surely.

        By resampling: the law of as many measurements, off by what the real ones were.
        """
        law = self.law
        return _interval(law, self._measured()) if law else None

    @property
    def widest_held(self) -> int:
        """The most connections up to which all objectives held in every run; 0 if none did."""
        broken = {point.connections for point in self.points if point.broken}
        first = min(broken, default=self.most + 1)
        return max((p.connections for p in self.points if p.connections < first), default=0)


def _interval(law: Scalability, measured: Sequence[tuple[int, float]]) -> Interval:
    """Return the highest rate of a law, with its interval."""
    most = max(n for n, _ in measured)
    spread = (len(measured) / max(1, len(measured) - _COEFFICIENTS)) ** 0.5
    errors = [spread * (rate / law.rate(n) - 1) for n, rate in measured]
    found = sorted(_resampled(law, [n for n, _ in measured], errors, most))
    tail = round((1 - CONFIDENCE) / 2 * len(found))
    middle = _highest(law, most)
    if not found:
        return Interval(middle, middle, middle)
    return Interval(min(found[tail], middle), middle, max(found[-1 - tail], middle))


def _resampled(
    law: Scalability, numbers: Sequence[int], errors: Sequence[float], most: int
) -> Iterable[float]:
    """Yield the highest rate of each law that might have been measured."""
    rng = random.Random(_SEED)  # noqa: S311 - no secret
    for _ in range(_RESAMPLES):
        points = [(n, law.rate(n) * (1 + rng.choice(errors))) for n in numbers]
        if again := fit_scalability(points):
            yield _highest(again, most)


def _highest(law: Scalability, most: int) -> float:
    return law.rate(min(law.peak, most))
