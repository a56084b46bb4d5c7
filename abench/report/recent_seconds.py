"""The last seconds of a run that goes on: rates and percentiles."""

from collections import deque
from dataclasses import dataclass

from abench.plan.plan import Plan
from abench.stats.histogram import Histogram
from abench.stats.latency import PERCENTILES
from abench.stats.summary import REPORT_INTERVAL_S, Summary


@dataclass(frozen=True, slots=True)
class Second:
    """One second: successes and failures per second, and percentiles by name in microseconds."""

    rate: float
    failed: float
    percentiles: dict[str, int | None]


class RecentSeconds:
    """The last seconds of a run, at most `max_seconds` of them, from successive Summaries.

    The time series of the Summary has longer and longer steps as a run goes on. A second counts as
    ended half a report interval late: workers report at its end, and then one interval later.
    Latencies are response times with a schedule, service times without.
    """

    def __init__(self, plan: Plan, max_seconds: int) -> None:
        self.points: deque[Second] = deque(maxlen=max_seconds)
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
            Second(
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
