"""How the figures of runs under the same conditions have changed over time."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from abench.stats.change_points import find_changes, segments
from abench.stats.comparison import MORE_IS_BETTER, PERCENTILES, RATE
from abench.stats.history import (
    Conditions,
    HistoryEntry,
    distinguishing,
    group_by_conditions,
)

FALSE_ALARMS = 0.01
"""Share of histories without a change in which one is found, of all metrics together."""

RECENT_RUNS = 10
"""A level that has lasted for more runs is no alarm any more, but the usual one."""


@dataclass(frozen=True, slots=True)
class Change:
    """A metric's level was `before` until the run `place`, and `after` from it on."""

    name: str
    place: int
    before: float
    after: float
    entry: HistoryEntry
    circumstances: dict[str, tuple[str, str]]

    @property
    def percent(self) -> float:
        """By how many percent it has risen."""
        return 100 * (self.after / self.before - 1) if self.before else 0.0

    @property
    def worse_by(self) -> float:
        """By how many percent it has become worse; negative if it is better."""
        return -self.percent if MORE_IS_BETTER[self.name] else self.percent


@dataclass(frozen=True, slots=True)
class Metric:
    """The values of a metric, and its levels: begin, end and mean of each."""

    name: str
    values: list[float]
    levels: list[tuple[int, int, float]]


@dataclass(frozen=True, slots=True)
class Trend:
    """The runs under the same conditions; `label` is what tells these from others of a history.

    `left_out` counts runs without figures that can be compared, such as interrupted ones.
    """

    conditions: Conditions
    label: Conditions
    entries: list[HistoryEntry]
    left_out: int
    metrics: list[Metric]

    @property
    def changes(self) -> list[Change]:
        """All changes, oldest first."""
        found = [change for metric in self.metrics for change in _changes(metric, self.entries)]
        return sorted(found, key=lambda one: one.place)

    def worse(self, tolerance: float) -> list[Change]:
        """Return the last change of each metric, if it is recent and worse by more than this.

        The `tolerance` is in percent.
        """
        latest = {change.name: change for change in self.changes}
        recent = (one for one in latest.values() if len(self.entries) - one.place <= RECENT_RUNS)
        return [change for change in recent if change.worse_by > tolerance]


def find_trends(entries: Sequence[HistoryEntry]) -> list[Trend]:
    """Return the trend under each set of conditions, in order of their first runs."""
    groups = group_by_conditions(entries)
    names = distinguishing(groups)
    return [_trend(group, names) for group in groups]


def _trend(group: list[HistoryEntry], names: Sequence[str]) -> Trend:
    complete = [entry for entry in group if entry.is_complete]
    label = {name: group[0].conditions.get(name, "") for name in names}
    metrics = [_metric(name, complete) for name in (RATE, *PERCENTILES)] if complete else []
    return Trend(group[0].conditions, label, complete, len(group) - len(complete), metrics)


def _metric(name: str, entries: Sequence[HistoryEntry]) -> Metric:
    """Return a metric with its levels. Ratios count: the logarithms are examined."""
    values = [entry.figures[name] for entry in entries]
    positive = min(values) > 0
    examined = list(map(math.log, values)) if positive else values
    changes = find_changes(examined, FALSE_ALARMS / (1 + len(PERCENTILES)))
    levels = []
    for begin, end in segments(changes, len(values)):
        mean = fmean(examined[begin:end])
        levels.append((begin, end, math.exp(mean) if positive else mean))
    return Metric(name, values, levels)


def _changes(metric: Metric, entries: Sequence[HistoryEntry]) -> Iterator[Change]:
    for (_, _, before), (place, _, after) in zip(metric.levels, metric.levels[1:], strict=False):
        now, earlier = entries[place].circumstances, entries[place - 1].circumstances
        names = now.keys() & earlier.keys()
        differ = {n: (earlier[n], now[n]) for n in sorted(names) if earlier[n] != now[n]}
        yield Change(metric.name, place, before, after, entries[place], differ)
