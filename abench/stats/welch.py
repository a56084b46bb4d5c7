"""Whether two groups of numbers differ by more than chance: Welch's t-test, Holm's correction.

The t distribution is computed here: a library for it would be fifty times as large as abench.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

_TINY = 1e-300
_STEPS = 300


@dataclass(frozen=True, slots=True)
class Estimate:
    """A difference of two means, its standard error, and the degrees of freedom."""

    difference: float
    error: float
    degrees_of_freedom: float

    @property
    def p(self) -> float:
        """How often chance alone shows a difference this large."""
        if not self.error:
            return 0.0 if self.difference else 1.0
        return two_sided(self.difference / self.error, self.degrees_of_freedom)

    def interval(self, level: float) -> tuple[float, float]:
        """Return the interval that holds the difference in all but `level` of all cases."""
        reach = critical(level, self.degrees_of_freedom) * self.error if self.error else 0.0
        return self.difference - reach, self.difference + reach


def estimate(
    before: Sequence[float], after: Sequence[float], resolution: float, difference: float | None
) -> Estimate:
    """Return by how much the mean of `after` is above that of `before` (Welch 1947).

    Each side has two values or more. Values have a `resolution`: where all values of a side are
    equal, their deviation may still have been half a step. `difference` replaces the difference of
    the means where a better estimate is known.
    """
    least = (resolution / 2) ** 2
    one, other = (max(variance(side), least) / len(side) for side in (before, after))
    squares = one**2 / (len(before) - 1) + other**2 / (len(after) - 1)
    freedom = (one + other) ** 2 / squares if squares else len(before) + len(after) - 2.0
    apart = fmean(after) - fmean(before) if difference is None else difference
    return Estimate(apart, math.sqrt(one + other), freedom)


def holm(ps: Sequence[float], level: float) -> list[float]:
    """Return the level at which each of several hypotheses is tested (Holm 1979).

    None is then wrongly rejected in 1 - `level` of all cases, however they depend on each other:
    the smallest p is tested at level / n, the next at level / (n - 1). As soon as one fails, so
    do all that follow, at the same level.
    """
    levels = [level] * len(ps)
    left, failed = len(ps), False
    for place in sorted(range(len(ps)), key=ps.__getitem__):
        levels[place] = level / left
        failed = failed or ps[place] > levels[place]
        left -= not failed
    return levels


def two_sided(t: float, freedom: float) -> float:
    """Return the two-sided probability of a t distribution beyond `t`."""
    return _incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5)


def critical(level: float, freedom: float) -> float:
    """Return the two-sided critical value of a t distribution at `level`."""
    low, high = 0.0, 1.0
    while two_sided(high, freedom) > level:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        if two_sided(middle, freedom) > level:
            low = middle
        else:
            high = middle
    return high


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularized incomplete beta function (DLMF 8.17.22, faster side)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    logs = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(logs + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """Evaluate the continued fraction by Lentz's method."""
    c, d = 1.0, 1 / _nonzero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _STEPS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _nonzero(1 + term * d)
            c = _nonzero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def _nonzero(number: float) -> float:
    return number if abs(number) > _TINY else _TINY
