"""A difference between two sides of a comparison, in figures and in words.

A run that was compared with earlier ones (`--baseline`) has its differences in its results.
"""

from dataclasses import dataclass
from typing import Annotated

from abench.stats.figure import Figure
from abench.stats.units import signed, significant

BY_RUNS, BY_SECTIONS, BY_NOTHING = "runs", "sections", "nothing"

PlanDifferences = dict[str, tuple[str, str]]
"""How the plans of both sides differ. By name: the value of A and the value of B."""

_ANY = {"minimum": None}  # of a number that may be negative


@dataclass(frozen=True, slots=True)
class Difference:
    """How much B is above A, in percent of A, with a 95 % confidence interval `low` to `high`.

    `basis` is what the interval is based on: runs, sections of runs, or nothing if there are too
    few of them; then `low` and `high` are None. `more_is_better` is true for rates.
    """

    name: Annotated[str, Figure("Metric", "What was compared: pages/sec, p50, p90 or p99.")]
    before: Annotated[
        float, Figure("Before", "Its value in the baseline: per second, or in microseconds.")
    ]
    after: Annotated[float, Figure("After", "Its value in this run, in the same unit.")]
    percent: Annotated[
        float,
        Figure("Difference", "How much it is above the baseline, in percent of it.", schema=_ANY),
    ]
    low: Annotated[
        float | None,
        Figure(
            "Lower bound",
            "Of the 95 % confidence interval, in percent. Null if there is too little to tell.",
            schema=_ANY,
        ),
    ]
    high: Annotated[
        float | None,
        Figure(
            "Upper bound",
            "Of the 95 % confidence interval, in percent. Null if there is too little to tell.",
            schema=_ANY,
        ),
    ]
    more_is_better: Annotated[
        bool, Figure("More is better", "Whether it is a rate, and not a latency.")
    ]
    basis: Annotated[
        str,
        Figure(
            "Basis",
            "What the interval is based on: runs, or sections of single ones.",
            schema={"enum": [BY_RUNS, BY_SECTIONS, BY_NOTHING]},
        ),
    ] = BY_RUNS

    @property
    def is_significant(self) -> bool:
        """Whether the difference is larger than the variation that `basis` shows."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    @property
    def worse_by(self) -> float:
        """By how many percent B is worse; negative if it is better."""
        return -self.percent if self.more_is_better else self.percent

    def exceeds(self, tolerance: float) -> bool:
        """Whether B is worse by more than `tolerance` percent, unless chance is a likely reason."""
        return self.worse_by > tolerance and (self.is_significant or self.low is None)


@dataclass(frozen=True, slots=True)
class BaselineComparison:
    """How a run differs from earlier ones."""

    url: Annotated[str, Figure("URL", "What the first run of the baseline requested.")]
    started_at: Annotated[
        str | None,
        Figure("Start time", "When the first run of the baseline started. Null if not known."),
    ]
    runs: Annotated[int, Figure("Runs", "Different runs of the baseline.", "runs")]
    plans: Annotated[
        PlanDifferences,
        Figure(
            "Plans",
            "What else differs and may be the reason, by name: the value of the baseline, and that "
            "of this run.",
        ),
    ]
    differences: Annotated[
        tuple[Difference, ...], Figure("Differences", "The difference of each metric.")
    ]


def describe_difference(difference: Difference) -> str:
    """Describe a difference: `12 % more pages/s (95 % confidence: 9 to 15 %)`."""
    size, up = abs(difference.percent), difference.percent > 0
    if not difference.percent:
        what = f"{difference.name}: the same"
    elif difference.more_is_better:
        what = f"{significant(size)} % {'more' if up else 'fewer'} pages/s"
    else:
        what = f"{significant(size)} % {'slower' if up else 'faster'} at {difference.name}"
    if difference.low is None or difference.high is None:
        return f"{what}; too few seconds or runs to tell it from chance"
    within = "" if difference.basis == BY_RUNS else " within these runs"
    if not difference.is_significant:
        between = f"{signed(difference.low)} to {signed(difference.high)} %"
        return f"{difference.name}: no significant difference{within} (95 % confidence: {between})"
    low, high = map(significant, sorted((abs(difference.low), abs(difference.high))))
    if within:
        return f"{what}, {low} to {high} %{within}; another run may differ"
    return f"{what} (95 % confidence: {low} to {high} %)"
