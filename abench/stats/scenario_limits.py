"""Limits of the users of a scenario, which no other run has."""

from abench.stats.finding import Finding, requests_in_flight
from abench.stats.results import Results
from abench.stats.units import decimal, plural, significant

HIGH_BROKEN_SHARE = 0.05  # of the iterations
WAITING_SHARE = 0.5  # of the users: if fewer wait for a response, they have other work


def find_broken_paths(report: Results) -> Finding | None:
    """Find a scenario that is not carried out to its end."""
    scenario = report.scenario
    if scenario is None or scenario.broken <= HIGH_BROKEN_SHARE * scenario.ended:
        return None
    share = significant(100 * scenario.broken / scenario.ended)
    why = f", first of all by {scenario.exceptions[0].place}" if scenario.exceptions else ""
    return Finding(
        "errors",
        "sure",
        f"{share} % of the paths broke off{why}: the rates are not those of the scenario.",
        (f"See each step of one user: abench run {scenario.file} --once -v",),
    )


def find_missed_paths(report: Results) -> Finding | None:
    """Find a schedule of paths that was not met: one begins late only if no user is free."""
    schedule = report.schedule
    if report.scenario is None or schedule is None or schedule.is_met:
        return None
    rates = f"{decimal(schedule.achieved)} of {decimal(schedule.offered)} paths/sec"
    missed = f"Only {rates} were begun: all users were on a path"
    users = f"-c {2 * report.plan.connections}"
    if _is_own_pace(report):
        why = "and most of them not waiting for the server: -c is too small"
        return Finding("schedule", "likely", f"{missed}, {why}.", (f"More users: {users}",))
    return Finding(
        "server",
        "likely",
        f"{missed}, so the server is too slow for it or -c is too small.",
        (f"Which of both? {users}: if the rate grows, users were missing.",),
    )


def find_own_pace(report: Results) -> Finding | None:
    """Find users of a closed loop who think, or compute, for longer than they wait."""
    if report.scenario is None or report.schedule or not _is_own_pace(report):
        return None
    users = plural(report.plan.connections, "user")
    waiting = f"on average {significant(requests_in_flight(report))} of {users} waited"
    return Finding(
        "schedule",
        "likely",
        f"The users' own pace was the limit: {waiting} for a response.",
        (f"More users: -c {2 * report.plan.connections}; or paths at a rate: -R",),
    )


def _is_own_pace(report: Results) -> bool:
    """Return whether few of the users wait for the server, on average."""
    return requests_in_flight(report) <= WAITING_SHARE * report.plan.connections
