"""Two sides with runs of each: how much they differ, and how sure one can be of it.

Where there are three runs or more of each, a run is what is compared: its rate, its percentiles.
Between runs is where most of the chance is, and Welch's t says what it may have done. Of fewer,
only the stretches of each run can be compared (Iglehart's sectioning: the figure is the whole
run's, its error is told by sections of it), which tells nothing of another run. Figures are held
to 95 % all together, by Holm's correction: who looks at four is more often deceived than who
looks at one.

Differences in percent are differences of logarithms, unless a figure is 0.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import fmean

from abench.errors import ParameterError
from abench.stats import welch
from abench.stats.histogram import Histogram
from abench.stats.intervals import Interval
from abench.stats.results import Report, latencies_with_waits
from abench.stats.units import signed, significant

CONFIDENCE = 0.95
MIN_RUNS = 3  # of each side: with two, chance has to be thought enormous
MAX_SECTIONS = 10
MIN_SECTIONS = 3
MIN_BEYOND = 5  # replies beyond a percentile that each section has, or its percentile says little
MIN_LENGTH_S = 0.5  # a second that the run ended in is too short to say anything
RATE = "pages/sec"
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0}
_RESOLUTION = 0.001  # of a latency: that of histograms with three digits

Measured = tuple[float, float]
"""A figure, and by what steps it is told apart from others."""

BY_RUNS, BY_SECTIONS, BY_NOTHING = "runs", "sections", "nothing"


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a run, or a whole one."""

    length_s: float
    succeeded: int
    latencies: Histogram

    def has(self, name: str) -> bool:
        """Whether there is such a figure of it: nothing has no percentile."""
        return name == RATE or bool(self.latencies.counts)

    def measure(self, name: str) -> Measured:
        """Return a rate in successes per second, or a percentile in microseconds; and its step."""
        if name == RATE:
            return (self.succeeded / self.length_s, 1 / self.length_s) if self.length_s else (0, 1)
        found = self.latencies.percentiles([PERCENTILES[name]])[PERCENTILES[name]] or 0
        return float(found), max(1.0, found * _RESOLUTION)


@dataclass(frozen=True, slots=True)
class Difference:
    """How much B is above A, in percent of A, and between what it lies in 95 of 100 cases.

    `basis` is what that goes by: the runs, the sections of a run, or nothing, where there are too
    few of them; then `low` and `high` are None. `more_is_better` for rates.
    """

    name: str
    before: float
    after: float
    percent: float
    low: float | None
    high: float | None
    more_is_better: bool
    basis: str = BY_RUNS

    @property
    def is_significant(self) -> bool:
        """Whether there is a difference, as far as the chance that `basis` shows is concerned."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    @property
    def worse_by(self) -> float:
        """By how many percent B is worse; below 0 if it is better."""
        return -self.percent if self.more_is_better else self.percent

    def exceeds(self, tolerance: float) -> bool:
        """Whether it is worse by more than `tolerate` percent, and surely not by chance alone."""
        return self.worse_by > tolerance and (self.is_significant or self.low is None)


def compare(before: Sequence[Report], after: Sequence[Report]) -> list[Difference]:
    """Return how the runs `after` differ from those `before`: pages per second, and percentiles.

    A run that is given twice is one. Raises ParameterError when there is nothing to compare.
    """
    sides = distinct_runs(before), distinct_runs(after)
    scheduled = {bool(report.response) for side in sides for report in side}
    if len(scheduled) > 1:
        raise ParameterError(
            "compare", "one side had a schedule, and the other not: they answer two questions"
        )
    for name, side in zip("AB", sides, strict=True):
        if not all(report.succeeded for report in side):
            raise ParameterError("compare", f"a run of {name} has no successes to compare")
    by_runs = min(map(len, sides)) >= MIN_RUNS
    study = _by_runs if by_runs else _by_sections
    return _with_joint_intervals([study(name, *sides) for name in (RATE, *PERCENTILES)])


def distinct_runs(reports: Iterable[Report]) -> list[Report]:
    """Return each run once: a copy of a report is no other run."""
    found: list[Report] = []
    for report in reports:
        if all(_run_identity(report) != _run_identity(other) for other in found):
            found.append(report)
    return found


def _run_identity(report: Report) -> tuple[object, ...]:
    """Return what no two runs have alike: a length to the nanosecond, and what was counted."""
    counted = report.succeeded, report.failed, report.bytes_received, report.status
    started_at = report.environment.started_at if report.environment else ""
    return report.duration_s, *counted, report.service, report.response, started_at


@dataclass(frozen=True, slots=True)
class _Study:
    """A figure of both sides, and how far it can be relied on."""

    name: str
    before: float
    after: float
    estimate: welch.Estimate | None
    percent_of: Callable[[float], float]
    basis: str


def _by_runs(name: str, before: Sequence[Report], after: Sequence[Report]) -> _Study:
    measured = [[_combined([run]).measure(name) for run in side] for side in (before, after)]
    return _study(name, measured, None, BY_RUNS)


def _by_sections(name: str, before: Sequence[Report], after: Sequence[Report]) -> _Study:
    wholes = _combined(before).measure(name)[0], _combined(after).measure(name)[0]
    sections = [_sections(name, side) for side in (before, after)]
    measured = [[one.measure(name) for one in side if one.has(name)] for side in sections]
    if min(map(len, measured)) < MIN_SECTIONS:
        return _Study(name, *wholes, None, float, BY_NOTHING)
    return _study(name, measured, wholes, BY_SECTIONS)


def _study(
    name: str, measured: list[list[Measured]], wholes: tuple[float, float] | None, basis: str
) -> _Study:
    """Estimate a difference: of the logarithms where there are any, or of the figures."""
    figures = [[figure for figure, _ in side] for side in measured]
    together = [*measured[0], *measured[1]]
    if all(figure > 0 for figure in (*figures[0], *figures[1], *(wholes or ()))):
        one, other = ([math.log(figure) for figure in side] for side in figures)
        middle = wholes or (math.exp(fmean(one)), math.exp(fmean(other)))
        known = math.log(middle[1] / middle[0])
        step = max(step / figure for figure, step in together)
        return _Study(
            name, *middle, welch.estimate(one, other, step, known), _from_logarithm, basis
        )
    middle = wholes or (fmean(figures[0]), fmean(figures[1]))
    step = max(step for _, step in together)
    found = welch.estimate(figures[0], figures[1], step, middle[1] - middle[0])
    return _Study(name, *middle, found, partial(_from_difference, middle[0]), basis)


def _from_logarithm(apart: float) -> float:
    return 100 * math.expm1(min(apart, 700.0))


def _from_difference(before: float, apart: float) -> float:
    return 100 * apart / before if before else 0.0


def _with_joint_intervals(studies: Sequence[_Study]) -> list[Difference]:
    """Return the differences, each with as wide an interval as all of them together want."""
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
        more_is_better=study.name == RATE,
        basis=study.basis,
    )


def _combined(runs: Sequence[Report]) -> Section:
    """Return all of some runs together, as it was counted: also of one that took no time."""
    return _merged([Section(run.duration_s, run.succeeded, _known_latencies(run)) for run in runs])


def _sections(name: str, runs: Sequence[Report]) -> list[Section]:
    """Return the sections of some runs in which a figure is measured: as many as replies allow."""
    seconds = [second for run in runs for second in _seconds(run)]
    number = min(MAX_SECTIONS, len(seconds))
    if name != RATE:
        replies = sum(second.succeeded for second in seconds)
        beyond = replies * (1 - PERCENTILES[name] / 100)
        number = min(number, int(beyond / MIN_BEYOND))
    if number < MIN_SECTIONS:
        return []
    edges = [round(place * len(seconds) / number) for place in range(number + 1)]
    return [_merged(seconds[one:end]) for one, end in pairwise(edges)]


def _seconds(report: Report) -> Iterable[Section]:
    for second in report.series:
        if second.length_s >= MIN_LENGTH_S:
            moment = report.summary.series.at(second.at_s)
            yield Section(second.length_s, second.succeeded, _latencies(moment))


def _latencies(moment: Interval) -> Histogram:
    """Return response times where there are any, and else service times."""
    return moment.response if moment.response.counts else moment.service


def _known_latencies(report: Report) -> Histogram:
    """Return the same of a whole run, whose percentiles are those that its report shows."""
    return latencies_with_waits(report.summary, "response" if report.response else "service")


def _merged(stretches: Sequence[Section]) -> Section:
    latencies = Histogram()
    for stretch in stretches:
        latencies.merge(stretch.latencies)
    length_s = sum(stretch.length_s for stretch in stretches)
    return Section(length_s, sum(stretch.succeeded for stretch in stretches), latencies)


def describe_difference(difference: Difference) -> str:
    """Say a difference in words: `12 % more pages/s, 95 % sure it is between 9 and 15`."""
    size, up = abs(difference.percent), difference.percent > 0
    if not difference.percent:
        what = f"{difference.name}: the same"
    elif difference.more_is_better:
        what = f"{significant(size)} % {'more' if up else 'fewer'} pages/s"
    else:
        what = f"{significant(size)} % {'slower' if up else 'faster'} at {difference.name}"
    if difference.low is None or difference.high is None:
        return f"{what}; too few seconds or runs to say how sure that is"
    within = "" if difference.basis == BY_RUNS else " within these runs"
    if not difference.is_significant:
        between = f"{signed(difference.low)} to {signed(difference.high)} %"
        return f"{difference.name}: no difference that is sure{within}, {between}"
    low, high = map(significant, sorted((abs(difference.low), abs(difference.high))))
    if within:
        return f"{what}, between {low} and {high}{within}; another run may differ"
    return f"{what}, 95 % sure it is between {low} and {high}"
