"""Compares the runs of two sides: how much they differ, and how certain that is.

With three or more runs of each side, the runs are compared by their rates and percentiles. Most of
the variation is between runs, and Welch's t-test estimates it. With fewer runs, only sections
within each run can be compared (Iglehart's sectioning: the value is that of the whole run, its
error is estimated from sections), which says nothing about another run. All metrics together are
tested at 95 %, by Holm's correction: of four metrics, one differs by chance more often than of one.

Differences in percent are differences of logarithms, unless a value is 0.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import fmean

from abench.errors import ParameterError
from abench.stats import latency, welch
from abench.stats.difference import BY_NOTHING, BY_RUNS, BY_SECTIONS, Difference
from abench.stats.figure import compared_figures
from abench.stats.histogram import Histogram
from abench.stats.intervals import Interval
from abench.stats.latency import Latency, latencies_with_waits
from abench.stats.results import Results

CONFIDENCE = 0.95
MIN_RUNS = 3  # of each side: with two, the error of the variance is enormous
MAX_SECTIONS = 10
MIN_SECTIONS = 3
MIN_BEYOND = 5  # responses above a percentile in each section: with fewer, it says little
MIN_LENGTH_S = 0.5  # the last second of a run is skipped if it is shorter
MORE_IS_BETTER = {**compared_figures(Results), **compared_figures(Latency)}
(RATE,) = compared_figures(Results)
PERCENTILES = {name: latency.PERCENTILES[name] for name in compared_figures(Latency)}
_RESOLUTION = 0.001  # of a latency, relative: that of histograms with three digits

Measured = tuple[float, float]
"""A value and its resolution."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a run, or a whole one."""

    length_s: float
    succeeded: int
    latencies: Histogram

    def has(self, name: str) -> bool:
        """Whether the metric is defined: without responses there are no percentiles."""
        return name == RATE or bool(self.latencies.counts)

    def measure(self, name: str) -> Measured:
        """Return successes per second or a percentile in microseconds, with the resolution."""
        if name == RATE:
            return (self.succeeded / self.length_s, 1 / self.length_s) if self.length_s else (0, 1)
        found = self.latencies.percentiles([PERCENTILES[name]])[PERCENTILES[name]] or 0
        return float(found), max(1.0, found * _RESOLUTION)


def compare(before: Sequence[Results], after: Sequence[Results]) -> list[Difference]:
    """Return how the runs `after` differ from those `before`: pages per second and percentiles.

    Duplicate runs are ignored. Raises ParameterError if the sides cannot be compared.
    """
    sides = distinct_runs(before), distinct_runs(after)
    scheduled = {bool(report.response) for side in sides for report in side}
    if len(scheduled) > 1:
        raise ParameterError(
            "compare",
            "one side has a schedule and the other does not: they measure different things",
        )
    for name, side in zip("AB", sides, strict=True):
        if not all(report.succeeded for report in side):
            raise ParameterError("compare", f"a run of {name} has no successes to compare")
    by_runs = min(map(len, sides)) >= MIN_RUNS
    study = _by_runs if by_runs else _by_sections
    return _with_joint_intervals([study(name, *sides) for name in (RATE, *PERCENTILES)])


def distinct_runs(reports: Iterable[Results]) -> list[Results]:
    """Return each run once: a copy of a report is not another run."""
    found: list[Results] = []
    for report in reports:
        if all(_run_identity(report) != _run_identity(other) for other in found):
            found.append(report)
    return found


def _run_identity(report: Results) -> tuple[object, ...]:
    """Return what identifies a run: its length to the nanosecond, and its counts."""
    counted = report.succeeded, report.failed, report.bytes_received, report.status
    started_at = report.environment.started_at if report.environment else ""
    return report.duration_s, *counted, report.service, report.response, started_at


@dataclass(frozen=True, slots=True)
class _Study:
    """A metric of both sides, and the estimate of their difference."""

    name: str
    before: float
    after: float
    estimate: welch.Estimate | None
    percent_of: Callable[[float], float]
    basis: str


def _by_runs(name: str, before: Sequence[Results], after: Sequence[Results]) -> _Study:
    measured = [[_combined([run]).measure(name) for run in side] for side in (before, after)]
    return _study(name, measured, None, BY_RUNS)


def _by_sections(name: str, before: Sequence[Results], after: Sequence[Results]) -> _Study:
    overall = _combined(before).measure(name)[0], _combined(after).measure(name)[0]
    sections = [_sections(name, side) for side in (before, after)]
    measured = [[one.measure(name) for one in side if one.has(name)] for side in sections]
    if min(map(len, measured)) < MIN_SECTIONS:
        return _Study(name, *overall, None, float, BY_NOTHING)
    return _study(name, measured, overall, BY_SECTIONS)


def _study(
    name: str, measured: list[list[Measured]], overall: tuple[float, float] | None, basis: str
) -> _Study:
    """Estimate a difference: of the logarithms if all values are positive, else of the values."""
    values = [[value for value, _ in side] for side in measured]
    all_measured = [*measured[0], *measured[1]]
    if all(value > 0 for value in (*values[0], *values[1], *(overall or ()))):
        one, other = ([math.log(value) for value in side] for side in values)
        centers = overall or (math.exp(fmean(one)), math.exp(fmean(other)))
        log_ratio = math.log(centers[1] / centers[0])
        step = max(step / value for value, step in all_measured)
        return _Study(
            name, *centers, welch.estimate(one, other, step, log_ratio), _from_logarithm, basis
        )
    centers = overall or (fmean(values[0]), fmean(values[1]))
    step = max(step for _, step in all_measured)
    found = welch.estimate(values[0], values[1], step, centers[1] - centers[0])
    return _Study(name, *centers, found, partial(_from_difference, centers[0]), basis)


def _from_logarithm(difference: float) -> float:
    return 100 * math.expm1(min(difference, 700.0))


def _from_difference(before: float, difference: float) -> float:
    return 100 * difference / before if before else 0.0


def _with_joint_intervals(studies: Sequence[_Study]) -> list[Difference]:
    """Return the differences, with intervals that hold for all of them together."""
    ps = [study.estimate.p for study in studies if study.estimate]
    levels = iter(welch.holm(ps, 1 - CONFIDENCE))
    return [_difference(study, next(levels) if study.estimate else 0.0) for study in studies]


def _difference(study: _Study, level: float) -> Difference:
    low = high = None
    if study.estimate:
        low, high = map(study.percent_of, study.estimate.interval(level))
    return Difference(
        name=study.name,
        before=study.before,
        after=study.after,
        percent=_from_difference(study.before, study.after - study.before),
        low=low,
        high=high,
        more_is_better=MORE_IS_BETTER[study.name],
        basis=study.basis,
    )


def measure_run(report: Results) -> dict[str, float]:
    """Return what is compared of a run by name: a rate per second, and microseconds."""
    whole = _combined([report])
    return {name: whole.measure(name)[0] for name in (RATE, *PERCENTILES) if whole.has(name)}


def _combined(runs: Sequence[Results]) -> Section:
    """Return all runs as one section, also those that took no time."""
    return _merged([Section(run.duration_s, run.succeeded, _run_latencies(run)) for run in runs])


def _sections(name: str, runs: Sequence[Results]) -> list[Section]:
    """Return sections of the runs for a metric: as many as the number of responses allows."""
    seconds = [second for run in runs for second in _seconds(run)]
    number = min(MAX_SECTIONS, len(seconds))
    if name != RATE:
        responses = sum(second.succeeded for second in seconds)
        beyond = responses * (1 - PERCENTILES[name] / 100)
        number = min(number, int(beyond / MIN_BEYOND))
    if number < MIN_SECTIONS:
        return []
    bounds = [round(place * len(seconds) / number) for place in range(number + 1)]
    return [_merged(seconds[begin:end]) for begin, end in pairwise(bounds)]


def _seconds(report: Results) -> Iterable[Section]:
    for second in report.series:
        if second.length_s >= MIN_LENGTH_S:
            interval = report.summary.series.at(second.at_s)
            yield Section(second.length_s, second.succeeded, _latencies(interval))


def _latencies(interval: Interval) -> Histogram:
    """Return response times if there are any, else service times."""
    return interval.response if interval.response.counts else interval.service


def _run_latencies(report: Results) -> Histogram:
    """Return the latencies of a whole run, whose percentiles are those of its report."""
    return latencies_with_waits(report.summary, "response" if report.response else "service")


def _merged(sections: Sequence[Section]) -> Section:
    latencies = Histogram()
    for section in sections:
        latencies.merge(section.latencies)
    length_s = sum(section.length_s for section in sections)
    return Section(length_s, sum(section.succeeded for section in sections), latencies)
