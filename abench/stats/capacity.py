"""The highest rate at which a server holds what it promises: steps, and what they say together."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from abench.stats.capacity_cause import OF_THE_CLIENT, Cause, find_cause
from abench.stats.capacity_search import Interval
from abench.stats.objective import Objective, strictest
from abench.stats.results import Results
from abench.stats.units import decimal

NEAR_THE_CLIENT = 0.8
"""Of the rate that this client can reach: beyond it, it may be the limit."""
_CLEARLY_BEYOND = 1.1
"""How far above the knee the highest step has to be: what is a little more may be chance."""
_ODD = 1.15
"""A step that held so far above the interval, or did not so far below it, contradicts the others:
beyond it M/D/1 and M/M/4 hold, or not, in all but a few of 1,000 steps."""


class Outcome(Enum):
    """How a search has ended, as a word for programs."""

    FOUND = "found"
    NO_RATE_HOLDS = "no-rate-holds"
    EVERY_RATE_HOLDS = "every-rate-holds"
    CLIENT = "client"
    NOTHING = "nothing"


class End(Enum):
    """Why no further step was made, as a word for programs."""

    SURE = "sure"
    TIME = "time"
    BOUND = "bound"
    SIGNAL = "signal"
    UNREACHABLE = "unreachable"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Step:
    """A run at one rate.

    offered and achieved are rates of requests that were due and of those that were started;
    pages_per_sec is that of successes. broken: how each objective that did not hold was broken.
    beyond, allowed: the requests beyond the objective that is closest to its limit, and how many
    may be. stress: how close, 1 at the limit.
    """

    offered: float
    achieved: float
    pages_per_sec: float
    duration_s: float
    connections: int
    mean_us: float | None
    p50_us: int | None
    p99_us: int | None
    error_share: float
    broken: tuple[str, ...]
    metrics: tuple[str, ...]
    beyond: float
    allowed: float
    cause: Cause

    @property
    def held(self) -> bool:
        """Whether all objectives held."""
        return not self.broken

    @property
    def power(self) -> float:
        """Successes per second by the mean time of a response: highest at the knee."""
        return self.pages_per_sec / self.mean_us if self.mean_us and self.held else 0.0

    @classmethod
    def of(cls, report: Results, objectives: Sequence[Objective]) -> "Step":
        """Return what a run at a rate says of the objectives."""
        broken = {one.text: found for one in objectives if (found := one.broken(report))}
        schedule = report.schedule
        count = strictest(report, objectives)
        if schedule and not schedule.is_met:
            broken["rate"] = f"only {decimal(schedule.achieved)}/s could be sent"
            count = count._replace(beyond=max(count.allowed, 1.0) * 1e6)
        times = report.response or report.service
        return cls(
            offered=schedule.offered if schedule else report.pages_per_sec,
            achieved=schedule.achieved if schedule else report.pages_per_sec,
            pages_per_sec=report.pages_per_sec,
            duration_s=report.duration_s,
            connections=report.plan.connections,
            mean_us=times.mean,
            p50_us=times.percentiles["p50"],
            p99_us=times.percentiles["p99"],
            error_share=report.error_share or 0.0,
            broken=tuple(broken.values()),
            metrics=tuple(broken),
            beyond=count.beyond,
            allowed=count.allowed,
            cause=find_cause(report),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a search has found.

    interval: None before the first step. steps: in the order in which they were made. bounds: the
    lowest and the highest rate of the search. closed_loop_per_sec: the rate of a closed loop before
    it. client_per_sec: that which this client reaches with a server that does nothing, None if it
    was not measured. limit_s: the seconds that the search was allowed. stopped_by: the number of
    the signal that stopped it. problem: what ended it, if the server or abench itself did.
    """

    url: str
    objectives: tuple[str, ...]
    arrivals: str
    limit_s: float
    interval: Interval | None = None
    steps: tuple[Step, ...] = ()
    bounds: tuple[float, float] = (0.0, 0.0)
    closed_loop_per_sec: float | None = None
    client_per_sec: float | None = None
    end: End = End.SURE
    stopped_by: int | None = None
    problem: str = ""

    @property
    def outcome(self) -> Outcome:
        """How the search has ended."""
        if self.interval is None:
            return Outcome.NOTHING
        if not any(step.held for step in self.steps):
            return Outcome.NO_RATE_HOLDS
        if all(step.held for step in self.steps):
            return Outcome.EVERY_RATE_HOLDS
        cause = self.why
        if cause and cause.cause.limiter in OF_THE_CLIENT:
            return Outcome.CLIENT
        return Outcome.FOUND

    @property
    def above(self) -> list[Step]:
        """The steps above the capacity that did not hold, by their rates; all, if none is above."""
        broken = sorted((s for s in self.steps if not s.held), key=lambda one: one.offered)
        middle = self.interval.middle if self.interval and self.highest_held else 0.0
        return [step for step in broken if step.offered >= middle] or broken

    @property
    def why(self) -> Step | None:
        """The lowest step above the capacity that was limited as most of them were."""
        above = self.above
        if not above:
            return None
        [(limiter, _)] = Counter(step.cause.limiter for step in above).most_common(1)
        return next(step for step in above if step.cause.limiter == limiter)

    @property
    def highest_held(self) -> float:
        """The highest rate at which a step held, 0 if none did."""
        return max((step.offered for step in self.steps if step.held), default=0.0)

    @property
    def is_known(self) -> bool:
        """Whether the interval says where the capacity is, with this client at least."""
        return self.outcome in {Outcome.FOUND, Outcome.CLIENT}

    @property
    def at_least(self) -> float:
        """The rate that is surely held, in requests per second; 0 if none is known."""
        if self.is_known and self.interval:
            return self.interval.low
        return self.highest_held

    @property
    def knee(self) -> Step | None:
        """The step with the most successes per second by the mean time of a response.

        Kleinrock's power: beyond it, response times grow faster than the rate. None if no step
        held, or if the search was not clearly on both sides of it.
        """
        found = max(self.steps, key=lambda one: one.power, default=None)
        if found is None or not found.power:
            return None
        lowest, highest = (choose(one.offered for one in self.steps) for choose in (min, max))
        return found if lowest < found.offered < highest / _CLEARLY_BEYOND else None

    @property
    def odd(self) -> list[Step]:
        """The steps that contradict the others: something has disturbed the server, or helped."""
        if self.interval is None or self.outcome is not Outcome.FOUND:
            return []
        low, high = self.interval.low / _ODD, self.interval.high * _ODD
        return [
            step
            for step in self.steps
            if (step.held and step.offered > high) or (not step.held and step.offered < low)
        ]

    @property
    def is_near_the_client(self) -> bool:
        """Whether the capacity is close to what this client can reach at all."""
        known = self.client_per_sec
        return bool(known and self.interval and self.interval.middle > NEAR_THE_CLIENT * known)
