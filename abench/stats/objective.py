"""What a server promises, as `p99<50ms`, and how many requests of a run break it."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from abench.errors import ParameterError
from abench.stats.results import Results
from abench.stats.thresholds import Condition

OPTION = "--slo"
_SUCCESS = "errors<1%"
"""What holds where nothing is said of errors: latencies are those of successes alone."""
_BEYOND = 10
"""Requests that may be beyond an objective in a step, for their number to mean something."""
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?)")
_RATES = {"pages", "achieved"}  # what is searched


class Count(NamedTuple):
    """How many requests are beyond an objective, and how many may be.

    Of an objective that is no share of the requests, all are beyond it or none.
    """

    beyond: float
    allowed: float

    @property
    def stress(self) -> float:
        """How close it is to its limit: 1 at the limit."""
        return self.beyond / self.allowed


@dataclass(frozen=True, slots=True)
class Objective:
    """What has to hold; `condition` is true where it does."""

    condition: Condition

    @classmethod
    def parse(cls, text: str) -> "Objective":
        """Return an objective; raises ParameterError."""
        condition = Condition.parse(text, OPTION, "<")
        if condition.metric in _RATES:
            raise ParameterError(OPTION, f"{text!r}: the rate is what is searched")
        if not condition.sign.startswith("<"):
            raise ParameterError(
                OPTION, f"{text!r} says what must not be: say what must hold, such as p99<50ms"
            )
        return cls(condition)

    @property
    def text(self) -> str:
        """The objective as it was given."""
        return self.condition.text

    def broken(self, report: Results) -> str:
        """Return how a run breaks it, as `p99 was 61.2 ms`; "" if it holds."""
        measured, text = self.condition.measure(report)
        if measured is not None and self.condition.evaluate(report).failed:
            return ""  # a condition of --fail-if fails where it is true
        return f"{self.condition.metric} was {'unknown' if measured is None else text}"

    def count(self, report: Results) -> Count:
        """Return how many requests of a run are beyond it."""
        share, limit_us = self._allowed_share, self.condition.limit_us
        if share is None or not report.succeeded:
            return Count(math.inf if self.broken(report) else 0.0, float(_BEYOND))
        if limit_us is None:
            found = (self.condition.measure(report)[0] or 0.0) / 100
            return Count(found * report.total, share * report.total)
        times = self.condition.distribution(report)
        return Count(times.above(math.floor(limit_us)).total(), share * times.count)

    @property
    def _allowed_share(self) -> float | None:
        """The share of requests that may be beyond it; None if it is not about a share."""
        if found := _PERCENTILE.fullmatch(self.condition.metric):
            return 1 - float(found[1]) / 100
        return self.condition.value / 100 if self.condition.unit == "%" else None

    @property
    def needed_requests(self) -> int:
        """How many requests a step must have for it to mean something."""
        return round(_BEYOND / (self._allowed_share or 0.5))

    @property
    def limit_s(self) -> float | None:
        """The time that it allows to a response, in seconds; None if it is about something else."""
        limit_us = self.condition.limit_us
        return None if limit_us is None else limit_us / 1e6


def parse_objectives(texts: Iterable[str]) -> tuple[Objective, ...]:
    """Return objectives, with one about errors if none is given; raises ParameterError."""
    given = [Objective.parse(text) for text in texts]
    if not given or any(one.condition.metric == "errors" for one in given):
        return tuple(given)
    return (*given, Objective.parse(_SUCCESS))


def strictest(report: Results, objectives: Sequence[Objective]) -> Count:
    """Return the count of the objective that is closest to its limit, or furthest beyond it."""
    return max((one.count(report) for one in objectives), key=lambda count: count.stress)
