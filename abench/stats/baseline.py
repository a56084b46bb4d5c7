"""Compares a run with earlier ones, as a gate: what is worse than tolerated has failed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from abench.stats.comparison import PERCENTILES, RATE, compare, distinct_runs
from abench.stats.difference import BaselineComparison, Difference
from abench.stats.parts import Threshold
from abench.stats.plan_differences import plan_differences
from abench.stats.results import Results
from abench.stats.units import significant


def compare_with_baseline(
    report: Results, baseline: Sequence[Results], tolerance: float | None
) -> Results:
    """Return the results of a run with how it differs from those of `baseline`.

    With a `tolerance` in percent there is a threshold for each metric, behind those that the
    results have. A run without successes has failed by all of them. Raises ParameterError if the
    runs cannot be compared.
    """
    if not report.succeeded:
        return _with_thresholds(report, _unmeasured(tolerance))
    differences = compare(baseline, [report])
    first = baseline[0]
    found = BaselineComparison(
        url=first.plan.target.url,
        started_at=first.environment.started_at if first.environment else None,
        runs=len(distinct_runs(baseline)),
        plans=plan_differences(baseline, [report]),
        differences=tuple(differences),
    )
    return _with_thresholds(replace(report, baseline=found), _judged(differences, tolerance))


def _with_thresholds(report: Results, more: Iterator[Threshold]) -> Results:
    return replace(report, thresholds=(*report.thresholds, *more))


def _judged(differences: Sequence[Difference], tolerance: float | None) -> Iterator[Threshold]:
    for one in differences if tolerance is not None else ():
        failed = one.exceeds(tolerance or 0.0)
        yield Threshold(_condition(one.name, tolerance or 0.0), failed, _measured(one))


def _unmeasured(tolerance: float | None) -> Iterator[Threshold]:
    """Yield a failed threshold for each metric: what was not measured has failed."""
    for name in (RATE, *PERCENTILES) if tolerance is not None else ():
        yield Threshold(_condition(name, tolerance or 0.0), failed=True, measured="-")


def _condition(name: str, tolerance: float) -> str:
    return f"{name} worse than the baseline by more than {significant(tolerance)} %"


def _measured(difference: Difference) -> str:
    size = significant(abs(difference.percent))
    word = "worse" if difference.worse_by > 0 else "better"
    certain = difference.is_significant or difference.low is None
    return f"{size} % {word}{'' if certain else ', which may be chance'}"
