"""The last seconds of a run that goes on: rates and percentiles, and bars that draw them."""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from abench.plan.plan import Plan
from abench.stats.histogram import Histogram
from abench.stats.latency import PERCENTILES
from abench.stats.summary import REPORT_INTERVAL_S, Summary

BARS = " ▁▂▃▄▅▆▇█"
ASCII_BARS = " ..:::###"  # for terminals that cannot show the others


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """One second: successes and failures per second, and percentiles by name in microseconds."""

    rate: float
    failed: float
    percentiles: dict[str, int | None]


class Trend:
    """The last seconds of a run, at most `max_seconds` of them, from successive Summaries.

    The time series of the Summary has longer and longer steps as a run goes on. A second counts as
    ended half a report interval late: workers report at its end, and then one interval later.
    Latencies are response times with a schedule, service times without.
    """

    def __init__(self, plan: Plan, max_seconds: int) -> None:
        self.points: deque[TrendPoint] = deque(maxlen=max_seconds)
        self._latency_name = "response" if plan.schedule else "service"
        self._last_second = self._succeeded = self._failed = 0
        self._previous = Histogram()

    def observe(self, summary: Summary, elapsed_s: float) -> None:
        """Record the seconds that have ended since the last call, as one point."""
        second = int(max(0.0, elapsed_s - REPORT_INTERVAL_S / 2))
        if second <= self._last_second:
            return
        latencies, length = self.latencies(summary), second - self._last_second
        found = latencies.since(self._previous).percentiles(PERCENTILES.values())
        self.points.append(
            TrendPoint(
                (summary.succeeded - self._succeeded) / length,
                (summary.failed - self._failed) / length,
                {name: found[percent] for name, percent in PERCENTILES.items()},
            )
        )
        self._previous = Histogram(latencies.counts.copy())
        self._last_second = second
        self._succeeded, self._failed = summary.succeeded, summary.failed

    def latencies(self, summary: Summary) -> Histogram:
        """Return the latencies that the percentiles are of."""
        found: Histogram = getattr(summary, self._latency_name)
        return found

    @property
    def average(self) -> float | None:
        """Successes per second until the last second that has ended; None before the first."""
        return self._succeeded / self._last_second if self._last_second else None

    def rates(self) -> list[float]:
        """Return the successes per second of each second, the latest last."""
        return [point.rate for point in self.points]

    def percentile(self, name: str) -> list[int | None]:
        """Return a percentile of each second in microseconds, the latest last."""
        return [point.percentiles[name] for point in self.points]


def sparkline(values: Iterable[float]) -> str:
    """Return a bar for each value, scaled to the highest of them; none is empty."""
    values = list(values)
    highest, bars = max(values, default=0) or 1, BARS[1:]
    return "".join(bars[min(len(bars) - 1, int(value / highest * len(bars)))] for value in values)


def bar_rows(values: Sequence[float], height: int, bars: str = BARS) -> list[str]:
    """Return `height` rows, the upper one first, with a column for each value from 0 up.

    The highest value fills its column; every other value above 0 has at least a trace in it.
    """
    steps = len(bars) - 1
    highest = max(values, default=0) or 1
    levels = [math.ceil(value / highest * height * steps) for value in values]
    return [
        "".join(bars[min(max(level - row * steps, 0), steps)] for level in levels)
        for row in reversed(range(height))
    ]
