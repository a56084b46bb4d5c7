"""The universal scalability law: how a rate grows with connections, and what hinders it.

    X(n) = a n / (1 + b (n - 1) + c n (n - 1))

a is the rate of one connection, b the share of the work that only one can do at a time
(contention), and c what it costs to keep each informed of each other one (coherency): with c above
0 the rate falls again, from n = sqrt((1 - b) / c) on. Gunther, Guerrilla Capacity Planning, 2007.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_NEEDED = 4
"""Measurements: three coefficients, and one to see how well they fit."""


class Scalability(NamedTuple):
    """The coefficients of the law, and how well it fits.

    fit: the share of the variance of n / X that it explains, 1 at most.
    """

    per_connection: float
    contention: float
    coherency: float
    fit: float

    def rate(self, connections: float) -> float:
        """Return the rate that it says."""
        n = connections
        return (
            self.per_connection * n / (1 + self.contention * (n - 1) + self.coherency * n * (n - 1))
        )

    @property
    def peak(self) -> float:
        """The number of connections with the highest rate; infinite where it only grows."""
        if not self.coherency:
            return math.inf
        return math.sqrt(max(0.0, 1 - self.contention) / self.coherency)


def fit_scalability(measured: Iterable[tuple[int, float]]) -> Scalability | None:
    """Return the law that fits connections and their rates best; None for fewer than 4 of them.

    n / X is linear in 1 / a, b / a and c / a: they are the least squares of it, each weighted by
    X / n so that all measurements count by their relative error. None of them can be below 0: a
    term that would be is left out.
    """
    points = [(n, rate) for n, rate in measured if rate > 0]
    if len({n for n, _ in points}) < _NEEDED:
        return None
    terms = [0, 1, 2]
    while True:
        found = _least_squares(points, terms)
        negative = [term for term, value in zip(terms, found, strict=True) if value < 0 and term]
        if not negative:
            break
        terms.remove(min(negative, key=lambda term: found[terms.index(term)]))
    values = dict(zip(terms, found, strict=True))
    slowness = values[0]
    if slowness <= 0:
        return None
    contention, coherency = (values.get(term, 0.0) / slowness for term in (1, 2))
    law = Scalability(1 / slowness, contention, coherency, 0.0)
    return law._replace(fit=_explained(points, law))


def _columns(n: int) -> tuple[float, float, float]:
    return 1.0, n - 1.0, n * (n - 1.0)


def _least_squares(points: Sequence[tuple[int, float]], terms: Sequence[int]) -> list[float]:
    rows = [([_columns(n)[term] * rate / n for term in terms], 1.0) for n, rate in points]
    matrix = [
        [sum(row[i] * row[j] for row, _ in rows) for j in range(len(terms))]
        + [sum(row[i] * wanted for row, wanted in rows)]
        for i in range(len(terms))
    ]
    return _solve(matrix)


def _solve(matrix: list[list[float]]) -> list[float]:
    """Return the solution of linear equations, by Gauss's elimination with pivots."""
    size = len(matrix)
    for step in range(size):
        pivot = max(range(step, size), key=lambda row: abs(matrix[row][step]))
        matrix[step], matrix[pivot] = matrix[pivot], matrix[step]
        for row in range(size):
            if row != step:
                factor = matrix[row][step] / matrix[step][step]
                matrix[row] = [
                    value - factor * of_step
                    for value, of_step in zip(matrix[row], matrix[step], strict=True)
                ]
    return [matrix[row][size] / matrix[row][row] for row in range(size)]


def _explained(points: Sequence[tuple[int, float]], law: Scalability) -> float:
    slowness = [n / rate for n, rate in points]
    mean = sum(slowness) / len(slowness)
    total = sum((value - mean) ** 2 for value in slowness)
    left = sum(
        (value - n / law.rate(n)) ** 2 for value, (n, _) in zip(slowness, points, strict=True)
    )
    return 1 - left / total if total else 1.0
