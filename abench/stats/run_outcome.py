"""Whether a run went as planned, whatever its figures are."""

from abench.stats.results import Results
from abench.stats.units import plural


def describe_incident(report: Results) -> str:
    """Return why the run cannot be judged by its figures, "" if it can."""
    if report.faults:
        return f"abench failed: {report.faults[0]}"
    if report.lost_workers:
        return f"{plural(report.lost_workers, 'worker')} of {report.plan.processes} died"
    if report.stopped_by:
        return "stopped by a signal before the planned end"
    if report.gave_up:
        return "ended early: no connection could be opened"
    return "" if report.succeeded else "no request succeeded"
