"""The highest rate at which a server keeps what it promises: steps, and what they say together."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from abench.errors import ParameterError
from abench.stats.bottleneck import find_bottleneck
from abench.stats.capacity_search import Interval
from abench.stats.results import Results
from abench.stats.thresholds import Condition
from abench.stats.units import decimal, microseconds, plural

NEAR_THE_CLIENT = 0.8  # of the rate that this client can reach: beyond it, it may be the limit
_BEYOND = 10  # requests slower than a percentile, for the percentile to mean something
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?)")


class Objective(NamedTuple):
    """What has to hold, as `p99<50ms`."""

    condition: Condition

    @classmethod
    def parse(cls, text: str) -> "Objective":
        """Return an objective; raises ParameterError."""
        try:
            return cls(Condition.parse(text))
        except ParameterError as error:
            reason = error.reason.replace("p99>50ms or errors>0.1%", "p99<50ms or errors<0.1%")
            raise ParameterError("--slo", reason.replace("condition", "objective")) from None

    def broken(self, report: Results) -> str:
        """Return how a run breaks it, as `p99 was 61.2 ms`; "" if it holds."""
        evaluated = self.condition.evaluate(report)
        # A condition of --fail-if fails where it is true; so does one that cannot be measured.
        is_measured = evaluated.measured != "-"
        if is_measured and evaluated.failed:
            return ""
        return f"{self.condition.metric} was {evaluated.measured if is_measured else 'unknown'}"

    @property
    def needed_requests(self) -> int:
        """How many requests a step must have for it to mean something."""
        found = _PERCENTILE.fullmatch(self.condition.metric)
        share = 1 - float(found[1]) / 100 if found else 0.5
        return math.ceil(_BEYOND / share)

    @property
    def limit_s(self) -> float | None:
        """The time that it allows to a response, in seconds; None if it is about something else."""
        units = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
        unit = self.condition.unit
        return self.condition.value * units[unit] if unit in units else None


@dataclass(frozen=True, slots=True)
class Step:
    """A run at one rate. broken: how each objective that did not hold was broken."""

    offered: float
    achieved: float
    p50_us: int | None
    p99_us: int | None
    error_share: float
    broken: tuple[str, ...]
    limiter: str
    reason: str

    @property
    def held(self) -> bool:
        """Whether all objectives held."""
        return not self.broken

    @classmethod
    def of(cls, report: Results, objectives: Sequence[Objective]) -> "Step":
        """Return what a run with a schedule says of the objectives."""
        broken = [found for one in objectives if (found := one.broken(report))]
        schedule = report.schedule
        if schedule and not schedule.is_met:
            broken.append(f"only {decimal(schedule.achieved)} requests/s were sent")
        times = report.response or report.service
        bottleneck = find_bottleneck(report)
        return cls(
            schedule.offered if schedule else report.pages_per_sec,
            schedule.achieved if schedule else report.pages_per_sec,
            times.percentiles["p50"],
            times.percentiles["p99"],
            report.error_share or 0.0,
            tuple(broken),
            bottleneck.limiter,
            bottleneck.sentence,
        )


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a search has found. steps: in the order in which they were made.

    unloaded_per_sec: the rate of a closed loop before the search; client_per_sec: that which this
    client reaches with a server that does nothing, None if it was not measured.
    """

    url: str
    objectives: tuple[str, ...]
    interval: Interval
    steps: tuple[Step, ...]
    closed_loop_per_sec: float
    client_per_sec: float | None = None
    is_complete: bool = True
    stopped_by: int | None = None
    reaches_top: bool = False
    reaches_bottom: bool = False

    @property
    def first_broken(self) -> Step | None:
        """The step at the lowest rate above the capacity that did not hold."""
        above = [s for s in self.steps if not s.held and s.offered >= self.interval.middle]
        others = [s for s in self.steps if not s.held]
        return min(above or others, key=lambda one: one.offered, default=None)

    @property
    def is_of_the_client(self) -> bool:
        """Whether the client may be the limit."""
        known = self.client_per_sec
        return known is not None and self.interval.middle > NEAR_THE_CLIENT * known

    def sentences(self) -> list[str]:
        """Return the answer, a sentence each."""
        return [*self._answer(), *self._why(), *self._doubts()]

    def _answer(self) -> list[str]:
        low, middle, high = map(decimal, self.interval)
        if self.reaches_bottom and self.steps and not any(step.held for step in self.steps):
            slowest = min(step.offered for step in self.steps)
            return [f"Not even {decimal(slowest)} requests/s hold {self._objectives()}."]
        if self.reaches_top and all(step.held for step in self.steps):
            return [f"More than {low} requests/s: no rate was found that breaks an objective."]
        sure = f"95 % sure it is between {low} and {high}"
        return [f"{middle} requests/s hold {self._objectives()}: {sure}."]

    def _objectives(self) -> str:
        return " and ".join(self.objectives)

    def _why(self) -> list[str]:
        step = self.first_broken
        if step is None:
            return []
        return [f"At {decimal(step.offered)}/s {', '.join(step.broken)}. {step.reason}"]

    def _doubts(self) -> list[str]:
        doubts = []
        if not self.is_complete:
            doubts.append(f"The search ended early, after {plural(len(self.steps), 'step')}.")
        if self.is_of_the_client:
            reached = decimal(self.client_per_sec or 0.0)
            doubts.append(
                f"This client reaches {reached}/s with a server that does nothing: it may be the "
                "limit."
            )
        return doubts

    def document(self) -> dict[str, object]:
        """Return everything as JSON has it."""
        return {
            "schema": 1,
            "url": self.url,
            "objectives": list(self.objectives),
            "capacity_per_sec": self.interval.middle,
            "low_per_sec": self.interval.low,
            "high_per_sec": self.interval.high,
            "confidence": 0.95,
            "complete": self.is_complete,
            "above_range": self.reaches_top,
            "below_range": self.reaches_bottom,
            "closed_loop_per_sec": self.closed_loop_per_sec,
            "client_per_sec": self.client_per_sec,
            "sentences": self.sentences(),
            "steps": [
                {
                    "offered_per_sec": step.offered,
                    "achieved_per_sec": step.achieved,
                    "p50_us": step.p50_us,
                    "p99_us": step.p99_us,
                    "error_share": step.error_share,
                    "held": step.held,
                    "broken": list(step.broken),
                    "limiter": step.limiter,
                }
                for step in self.steps
            ],
        }

    def table(self) -> list[tuple[str, ...]]:
        """Return the steps by their rates, as they are shown, the names of columns first."""
        rows: list[tuple[str, ...]] = [("offered/s", "achieved/s", "p50", "p99", "errors", "")]
        for step in sorted(self.steps, key=lambda one: one.offered):
            errors = f"{100 * step.error_share:.2g} %" if step.error_share else "0"
            rows.append(
                (
                    decimal(step.offered),
                    decimal(step.achieved),
                    microseconds(step.p50_us),
                    microseconds(step.p99_us),
                    errors,
                    "held" if step.held else ", ".join(step.broken),
                )
            )
        return rows
