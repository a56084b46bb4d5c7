"""The universal scalability law: how a rate grows with connections, and what hinders it.

    X(n) = a n / (1 + b (n - 1) + c n (n - 1))

a is the rate of one connection, b the share of the work that only one can do at a time
(contention), and c what it costs to keep each informed of each other one (coherency): with c above
0 the rate falls again, from n = sqrt((1 - b) / c) on. Gunther, Guerrilla Capacity Planning, 2007.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

NEEDED = 4
"""Different numbers of connections: three coefficients, and one to see how well they fit."""
_OPTIONAL = ((1, 2), (1,), (2,), ())
"""The terms of b and c, which may be left out."""


class Scalability(NamedTuple):
    """The coefficients of the law, and how well it fits.

    per_connection: a, in requests per second. contention: b. coherency: c. fit: the share of the
    variance of n / X that it explains, 1 at most.
    """

    per_connection: float
    contention: float
    coherency: float
    fit: float

    def rate(self, connections: float) -> float:
        """Return the rate that it says, in requests per second."""
        n = connections
        return (
            self.per_connection * n / (1 + self.contention * (n - 1) + self.coherency * n * (n - 1))
        )

    @property
    def peak(self) -> float:
        """The number of connections with the highest rate; infinite where it only grows."""
        if not self.coherency:
            return math.inf
        return max(1.0, math.sqrt(max(0.0, 1 - self.contention) / self.coherency))

    @property
    def ceiling(self) -> float:
        """The rate that no number of connections exceeds; infinite where nothing hinders it."""
        if self.coherency:
            return self.rate(self.peak)
        return self.per_connection / self.contention if self.contention else math.inf


def fit_scalability(measured: Iterable[tuple[int, float]]) -> Scalability | None:
    """Return the law that fits connections and their rates best.

    None for fewer than 4 different numbers of connections, or where none fits. n / X is linear in
    1 / a, b / a and c / a: these are least squares, weighted by X / n so that all measurements
    count by their relative error. None can be below 0: of the four laws with and without b and c,
    the best one whose terms are not.
    """
    points = [(n, rate) for n, rate in measured if rate > 0]
    if len({n for n, _ in points}) < NEEDED:
        return None
    laws = [law for terms in _OPTIONAL if (law := _law(points, (0, *terms)))]
    return min(laws, key=lambda law: _squares(points, law), default=None)


def _law(points: Sequence[tuple[int, float]], terms: Sequence[int]) -> Scalability | None:
    """Return the law of these terms that fits best; None if one of them would be below 0."""
    found = _least_squares(points, terms)
    if found is None or found[0] <= 0 or min(found) < 0:
        return None
    slowness, contention, coherency = (
        dict(zip(terms, found, strict=True)).get(n, 0.0) for n in range(3)
    )
    law = Scalability(1 / slowness, contention / slowness, coherency / slowness, 0.0)
    return law._replace(fit=_explained(points, law))


def _least_squares(points: Sequence[tuple[int, float]], terms: Sequence[int]) -> list[float] | None:
    """Return the factor of each term, by the normal equations; None if they have no solution."""
    rows = [
        [(1.0, n - 1.0, n * (n - 1.0))[term] * rate / n for term in terms] for n, rate in points
    ]
    matrix = [
        [
            *(sum(row[i] * row[j] for row in rows) for j in range(len(terms))),
            sum(r[i] for r in rows),
        ]
        for i in range(len(terms))
    ]
    return _solve(matrix)


def _solve(matrix: list[list[float]]) -> list[float] | None:
    """Return the solution of linear equations, by Gauss's elimination with pivots."""
    size = len(matrix)
    for step in range(size):
        pivot = max(range(step, size), key=lambda row: abs(matrix[row][step]))
        matrix[step], matrix[pivot] = matrix[pivot], matrix[step]
        if not matrix[step][step]:
            return None
        for row in range(size):
            if row != step:
                factor = matrix[row][step] / matrix[step][step]
                matrix[row] = [
                    value - factor * of_step
                    for value, of_step in zip(matrix[row], matrix[step], strict=True)
                ]
    return [matrix[row][size] / matrix[row][row] for row in range(size)]


def _squares(points: Sequence[tuple[int, float]], law: Scalability) -> float:
    """Return the sum of the squares of relative errors."""
    return sum((rate / law.rate(n) - 1) ** 2 for n, rate in points)


def _explained(points: Sequence[tuple[int, float]], law: Scalability) -> float:
    slowness = [n / rate for n, rate in points]
    mean = sum(slowness) / len(slowness)
    total = sum((value - mean) ** 2 for value in slowness)
    left = sum(
        (value - n / law.rate(n)) ** 2 for value, (n, _) in zip(slowness, points, strict=True)
    )
    return 1 - left / total if total else 1.0
