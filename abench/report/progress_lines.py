"""The progress of a run as plain lines at an interval, for logs."""

from collections.abc import Callable

from abench.plan.plan import Plan
from abench.report.advance import advance
from abench.stats.histogram import Histogram
from abench.stats.summary import REPORT_INTERVAL_S, Summary
from abench.stats.units import count, decimal, microseconds


class ProgressLines:
    """Writes a line when a phase begins, and then one for each interval; call it to update it.

    Rates and latencies of a line are of the time since the line before, so that a slow minute of a
    long run shows; failures are those of the whole run. Times are response times with a schedule.
    An interval counts as ended half a report interval late, as a second of a Trend does.
    """

    def __init__(self, plan: Plan, interval_s: float, write: Callable[[str], object]) -> None:
        self._plan, self._interval_s, self._write = plan, interval_s, write
        self._latency_name = "response" if plan.schedule else "service"
        self._phase = ""
        self._keep(Summary(), 0.0)

    def __call__(self, summary: Summary, elapsed_s: float) -> None:
        """Write a line if one is due `elapsed_s` after the start."""
        if not elapsed_s:
            self._write_phase(advance(self._plan, summary, 0.0).text)
            return
        ended = max(0.0, elapsed_s - REPORT_INTERVAL_S / 2) // self._interval_s
        if (at_s := ended * self._interval_s) > self._since_s:
            self._write(", ".join(self._figures(summary, at_s)))
            self._keep(summary, at_s)

    def _write_phase(self, phase: str) -> None:
        if phase != self._phase:
            self._phase = phase
            self._write(phase)

    def _keep(self, summary: Summary, at_s: float) -> None:
        """Keep the counts at the end of an interval."""
        self._latencies_before = Histogram(self._latencies(summary).counts.copy())
        self._succeeded_before, self._since_s = summary.succeeded, at_s

    def _latencies(self, summary: Summary) -> Histogram:
        found: Histogram = getattr(summary, self._latency_name)
        return found

    def _figures(self, summary: Summary, at_s: float) -> tuple[str, ...]:
        rate = (summary.succeeded - self._succeeded_before) / (at_s - self._since_s)
        found = self._latencies(summary).since(self._latencies_before).percentiles((50.0, 99.0))
        return (
            advance(self._plan, summary, at_s).text,
            f"{decimal(rate)} pages/sec",
            f"p50 {microseconds(found[50.0])}",
            f"p99 {microseconds(found[99.0])}",
            f"{count(summary.failed)} failed",
        )
