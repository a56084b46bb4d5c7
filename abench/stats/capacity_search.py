"""Finds the highest rate that a server holds, from steps at chosen rates.

How many requests of a step come too late is a matter of chance, and not an even one: they come in
clusters, for one long queue delays all that wait in it. At the limit most steps have fewer than
are allowed, and a few have many more. To ask of each step only whether it held finds rates that
are 4 to 8 % too high (40 simulated searches in M/D/1 and M/M/4, steps of 5 s). So late requests are
counted.

The model has a limit, where the share of late requests is the one that is allowed, and from where
that grows by a constant factor with the rate, as the tails of waiting times do near the capacity of
a queue (Kingman, On queues in heavy traffic, 1962). Counts are negative binomial: Poisson in
clusters. Bayes' rule gives each limit its probability after each step, whatever the steepness and
the size of clusters may be; the next step is made where the limit is as likely above as below.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from itertools import accumulate
from typing import NamedTuple

CONFIDENCE = 0.95

_RESOLUTION = 1.02
"""Between two rates that are told apart; what is between them is interpolated."""
_STEEPNESSES = (5.0, 15.0, 45.0, 135.0, 400.0)
"""By how many powers of e the share would grow while the rate doubles. At the p99 of a queue for
one server (M/M/1) they are 5, 12, 41 and 225 at 50, 73, 90 and 98 % of its capacity."""
_CLUSTERS = (1.5, 10.0, 60.0, 400.0)
"""The variance of a count by its mean."""
_MOST = 30.0
"""Times as many as are allowed are as good as all: the model is one of rates near the limit."""
_LEAST_GROWTH, _MOST_GROWTH = -20.0, math.log(_MOST)
_MISHAP = 0.02
"""The share of steps that say nothing of the limit: something else has disturbed the server."""
_TRUST = 0.6
"""The power to which a likelihood is raised, since counts are less regular than the model has it.
At 1 the interval contained the limit in 55 to 97 of 100 searches, by the queue; at 0.6, in 90."""
_SPREAD = 0.7
"""How far the limit may be from the expected one, in powers of e: no more than a hint."""
_NEGLIGIBLE = 1e-12
_REPEATS, _NEAR = 8, 1.1
"""So many steps have to be that near to the limit: a few can be misled by chance together."""


class Interval(NamedTuple):
    """Where the limit is: as likely below `middle` as above, and 95 % sure from low to high."""

    low: float
    middle: float
    high: float

    @property
    def tolerance(self) -> float:
        """How far its ends are from each other, as a share on each side of the middle."""
        return (self.high / self.low - 1) / 2 if self.low else math.inf


class _Hypothesis(NamedTuple):
    """A limit by its number, and what is not asked but unknown as well."""

    number: int
    steepness: float
    cluster: float


class CapacitySearch:
    """A search from `lowest` to `highest` requests per second, both above 0.

    expected: a rate near which the limit is more likely than elsewhere. tolerance: the share by
    which the result may be too high or too low. The search is over when it is that sure, or after
    max_steps.
    """

    def __init__(
        self,
        lowest: float,
        highest: float,
        *,
        expected: float | None = None,
        tolerance: float = 0.05,
        max_steps: int = 100,
    ) -> None:
        count = max(2, math.ceil(math.log(highest / lowest, _RESOLUTION)) + 1)
        self._rates = [lowest * _RESOLUTION**n for n in range(count)]
        self._weights = {
            _Hypothesis(n, steepness, cluster): _prior(rate, expected)
            for n, rate in enumerate(self._rates)
            for steepness in _STEEPNESSES
            for cluster in _CLUSTERS
        }
        self._interval = _interval(self._rates, self._weights)
        self._tolerance = tolerance
        self._max_steps = max_steps
        self._made: list[float] = []

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return len(self._made)

    @property
    def interval(self) -> Interval:
        """Where the limit is, by all steps so far."""
        return self._interval

    @property
    def next_rate(self) -> float:
        """The rate of the next step, in requests per second."""
        return self._interval.middle

    def add(self, rate: float, beyond: float, allowed: float) -> None:
        """Note a step: how many requests were beyond the objective, and how many may be."""
        self._made.append(rate)
        count = _Count(beyond, allowed)
        weights = {
            one: weight * count.likelihood(rate / self._rates[one.number], one)
            for one, weight in self._weights.items()
        }
        highest = max(weights.values())
        self._weights = {
            one: weight / highest
            for one, weight in weights.items()
            if weight > _NEGLIGIBLE * highest
        }
        self._interval = _interval(self._rates, self._weights)

    @property
    def is_over(self) -> bool:
        """Whether no further step is needed, or allowed."""
        return self.steps >= self._max_steps or self.is_sure

    @property
    def is_sure(self) -> bool:
        """Whether the interval is as narrow as was wanted, and enough steps are near it."""
        middle = self._interval.middle
        near = [rate for rate in self._made if 1 / _NEAR <= rate / middle <= _NEAR]
        return len(near) >= _REPEATS and self._interval.tolerance <= self._tolerance

    @property
    def reaches_top(self) -> bool:
        """Whether the limit may be above the highest rate of the search."""
        return self._interval.high >= self._rates[-1] / _RESOLUTION

    @property
    def reaches_bottom(self) -> bool:
        """Whether the limit may be below the lowest rate of the search."""
        return self._interval.low <= self._rates[0] * _RESOLUTION


def _prior(rate: float, expected: float | None) -> float:
    """Return how likely a limit is before the first step: with long tails (Cauchy)."""
    if expected is None:
        return 1.0
    return 1 / (1 + (math.log(rate / expected) / _SPREAD) ** 2)


def _interval(rates: list[float], weights: Mapping[_Hypothesis, float]) -> Interval:
    by_number: dict[int, float] = defaultdict(float)
    for one, weight in weights.items():
        by_number[one.number] += weight
    numbers = sorted(by_number)
    below = list(accumulate(by_number[number] for number in numbers))
    tail = (1 - CONFIDENCE) / 2
    low, middle, high = (
        rates[0] * _RESOLUTION ** _place(numbers, below, share) for share in (tail, 0.5, 1 - tail)
    )
    return Interval(low, middle, high)


def _place(numbers: list[int], below: list[float], share: float) -> float:
    """Return the number below which the limit is with a probability.

    Each number stands for the rates around it, halfway to its neighbours.
    """
    wanted = share * below[-1]
    found = next(n for n, weight in enumerate(below) if weight >= wanted)
    before = below[found - 1] if found else 0.0
    inside = (wanted - before) / (below[found] - before)
    return numbers[found] + inside - 0.5


class _Count:
    """The count of a step, as its likelihood needs it."""

    def __init__(self, beyond: float, allowed: float) -> None:
        self._allowed = max(allowed, 1.0)
        self._most = _MOST * self._allowed
        self._beyond = min(beyond, self._most)
        self._known: dict[tuple[float, float], float] = {}

    def likelihood(self, ratio: float, of: _Hypothesis) -> float:
        """Return how likely the count is at a rate, which is the limit times a ratio."""
        growth = max(_LEAST_GROWTH, min(of.steepness * (ratio - 1), _MOST_GROWTH))
        key = growth, of.cluster
        if key not in self._known:  # far from the limit, most hypotheses say the same
            found = math.exp(self._logarithm(self._allowed * math.exp(growth), of.cluster))
            self._known[key] = (_MISHAP / (self._most + 1) + (1 - _MISHAP) * found) ** _TRUST
        return self._known[key]

    def _logarithm(self, mean: float, cluster: float) -> float:
        """Return the logarithm of the negative binomial distribution."""
        size = mean / (cluster - 1)
        return (
            math.lgamma(self._beyond + size)
            - math.lgamma(size)
            - math.lgamma(self._beyond + 1)
            - size * math.log(cluster)
            + self._beyond * math.log(1 - 1 / cluster)
        )
