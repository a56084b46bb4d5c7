"""Finds the highest rate that a server holds, from steps at chosen rates that held or did not.

Near the limit, whether a step holds is a matter of chance: its percentile is that of a sample. So
the search keeps a distribution over where the limit is, changes it by Bayes' rule after each step,
and makes the next step where the limit is as likely above as below. Psychologists find thresholds
of perception in this way (QUEST: Watson and Pelli, 1983, doi:10.3758/BF03202828).
"""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

_RESOLUTION = 1.01
"""Between two rates that are told apart: a fifth of the tolerance that is usual."""
_SLOPES = (0.005, 0.015, 0.05, 0.15)
"""How far from the limit, as a share of it, chance still decides: the longer a step, the less."""
_MISHAP = 0.04
"""The share of steps that say nothing of the limit: something else has disturbed the server."""
_SURE = 0.95
_MIN_STEPS = 6
"""With fewer, a single mishap would decide."""


class Interval(NamedTuple):
    """Where the limit is: as likely below `middle` as above, and 95 % sure from low to high."""

    low: float
    middle: float
    high: float

    @property
    def tolerance(self) -> float:
        """How far its ends are from each other, as a share on each side of the middle."""
        return (self.high / self.low - 1) / 2 if self.low else math.inf


class CapacitySearch:
    """A search from `lowest` to `highest` requests per second, both above 0.

    tolerance: the share by which the result may be too high or too low. It is over when it is that
    sure, or after max_steps.
    """

    def __init__(
        self, lowest: float, highest: float, *, tolerance: float = 0.05, max_steps: int = 30
    ) -> None:
        count = max(2, math.ceil(math.log(highest / lowest, _RESOLUTION)) + 1)
        self._logs = [math.log(lowest) + n * math.log(_RESOLUTION) for n in range(count)]
        self._weights = {slope: [1.0] * count for slope in _SLOPES}
        self._tolerance = tolerance
        self._max_steps = max_steps
        self.steps = 0

    def next_rate(self) -> float:
        """Return the rate of the next step."""
        return self.interval().middle

    def add(self, rate: float, *, held: bool) -> None:
        """Note whether a step at a rate held."""
        self.steps += 1
        at = math.log(rate)
        for slope, weights in self._weights.items():
            for n, limit in enumerate(self._logs):
                holds = _probability((limit - at) / slope)
                weights[n] *= holds if held else 1 - holds
        total = sum(map(sum, self._weights.values()))
        self._weights = {
            slope: [weight / total for weight in weights]
            for slope, weights in self._weights.items()
        }

    @property
    def is_over(self) -> bool:
        """Whether no further step is needed, or allowed."""
        if self.steps >= self._max_steps:
            return True
        return self.steps >= _MIN_STEPS and self.interval().tolerance <= self._tolerance

    def interval(self) -> Interval:
        """Return where the limit is, by all steps so far."""
        by_rate = [sum(column) for column in zip(*self._weights.values(), strict=True)]
        below = list(accumulate(by_rate))
        tail = (1 - _SURE) / 2
        low, middle, high = (self._rate_at(below, share) for share in (tail, 0.5, 1 - tail))
        return Interval(low, middle, high)

    def _rate_at(self, below: Sequence[float], share: float) -> float:
        """Return the rate below which the limit is with a probability."""
        wanted = share * below[-1]
        found = next(n for n, weight in enumerate(below) if weight >= wanted)
        return math.exp(self._logs[found])

    @property
    def reaches_top(self) -> bool:
        """Whether the limit may be above the highest rate of the search."""
        return self.interval().high >= math.exp(self._logs[-1]) / _RESOLUTION

    @property
    def reaches_bottom(self) -> bool:
        """Whether the limit may be below the lowest rate of the search."""
        return self.interval().low <= math.exp(self._logs[0]) * _RESOLUTION


def _probability(distance: float) -> float:
    """Return how likely a step holds, by its distance below the limit, in slopes."""
    if abs(distance) > 50:  # of which exp would overflow, or make no difference
        certain = 1.0 if distance > 0 else 0.0
    else:
        certain = 1 / (1 + math.exp(-distance))
    return _MISHAP / 2 + (1 - _MISHAP) * certain
