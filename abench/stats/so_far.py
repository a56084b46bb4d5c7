"""The counts of a run that still goes on, as if it had ended: for what is shown while it runs."""

from dataclasses import replace

from abench.plan.plan import Plan
from abench.stats.summary import REPORT_INTERVAL_S, ResourceUsage, Summary
from abench.stats.time_series import TimeSeries

# Workers report at the end of an interval, and their counts arrive a little later. What was due or
# awaited since then is no fault of the server, so the run is taken to end before it.
_REPORTED_LATE_S = 2 * REPORT_INTERVAL_S


def counts_so_far(plan: Plan, summary: Summary, elapsed_s: float) -> Summary:
    """Return the counts as of `elapsed_s` seconds after the start, without their time series.

    The workers' CPU time is the same for each of them, since only its sum is known before the end;
    how late their timers fire is not known yet. Histograms and counters are those of `summary`.
    """
    elapsed_ns = round(max(0.0, elapsed_s - _REPORTED_LATE_S) * 1e9)
    each = ResourceUsage(summary.cpu_ns // plan.processes, round(elapsed_s * 1e9))
    return replace(
        summary, elapsed_ns=elapsed_ns, costs=[each] * plan.processes, series=TimeSeries()
    )
