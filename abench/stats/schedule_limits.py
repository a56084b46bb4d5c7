"""The limit of a schedule: the rate that was asked for, or a server that did not keep up."""

from abench.stats.finding import BUSY, Finding, busy_connections
from abench.stats.phrases import describe_late
from abench.stats.results import Results
from abench.stats.units import decimal, microseconds, significant

HIGH_LATE_SHARE = 0.01  # of the requests that were started


def find_met_rate(report: Results) -> Finding | None:
    """Find a schedule that the server kept up with."""
    schedule = report.schedule
    if schedule is None or not schedule.is_met:
        return None
    if schedule.late_share >= HIGH_LATE_SHARE:
        started = describe_late(schedule, report.stages)
        return Finding(
            "schedule",
            "likely",
            f"The rate was reached, but {started}{_wait(report)}.",
            (f"More connections, so that a free one is there: -c {2 * report.plan.connections}",),
        )
    return Finding(
        "schedule",
        "sure",
        "The requested rate was the limit, and it was met.",
        (f"Ask for more: {_more(report)}, until the latencies leave what you allow.",),
    )


def _more(report: Results) -> str:
    """Return how half as much again is asked for."""
    if report.plan.replay:
        return f"--speed {significant(1.5 * report.plan.speed)}"
    if report.plan.stages:
        return "stages with higher rates"
    return f"-R {max(1, round(1.5 * (report.plan.rate or 0.0)))}"


def _wait(report: Results) -> str:
    """Return the response time of a late schedule as the end of a sentence."""
    p99 = report.response.percentiles["p99"] if report.response else None
    return "" if p99 is None else f": response times are {microseconds(p99)} at p99"


def find_missed_rate(report: Results) -> Finding | None:
    """Find a schedule that was not met."""
    schedule = report.schedule
    if schedule is None:
        return None
    missed = (
        f"Only {decimal(schedule.achieved)} of {decimal(schedule.offered)} requests/sec were sent"
    )
    connections = 2 * report.plan.connections
    if busy_connections(report) > BUSY:
        return Finding(
            "server",
            "likely",
            f"{missed}: every connection was busy, so the server is too slow for it or -c is too "
            "small.",
            (
                f"Which of both? -c {connections}: if the rate grows, connections were missing.",
                f"What the server can do: a closed loop, -c {report.plan.connections} without -R.",
            ),
        )
    return Finding(
        "unclear",
        "unclear",
        f"{missed}, although connections were free.",
        ("Repeat it with --server-pid PID, and longer: -t 60.",),
    )
