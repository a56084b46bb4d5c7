"""What limited the users of a scenario: rules of the verdict that no other run needs."""

from abench.stats.results import Results
from abench.stats.units import plural, significant

HIGH_BROKEN_SHARE = 0.05  # of the iterations
WAITING_SHARE = 0.5  # of the users: if fewer wait for a response, they have other work

Finding = tuple[str, str, str]  # limiter, confidence, sentence


def find_broken(report: Results) -> Finding | None:
    """Find a scenario that is not carried out to its end."""
    scenario = report.scenario
    if scenario is None or scenario.broken <= HIGH_BROKEN_SHARE * scenario.ended:
        return None
    share = significant(100 * scenario.broken / scenario.ended)
    why = f", first of all by {scenario.exceptions[0].place}" if scenario.exceptions else ""
    sentence = f"{share} % of the paths broke off{why}: the rates are not those of the scenario."
    return "errors", "sure", sentence


def find_own_pace(report: Results, in_flight: float) -> Finding | None:
    """Find users who think, or compute, for longer than they wait for the server."""
    if report.scenario is None or not _is_own_pace(report, in_flight):
        return None
    users = plural(report.plan.connections, "user")
    waiting = f"on average {significant(in_flight)} of {users} waited for a response"
    return "schedule", "likely", f"The users' own pace was the limit: {waiting}."


def describe_missed(report: Results, in_flight: float, rates: str) -> Finding:
    """Return why a schedule of paths was not met: a path begins late only if no user is free."""
    missed = f"{rates} paths/sec were begun: all users were on a path"
    if _is_own_pace(report, in_flight):
        why = "and most of them not waiting for the server: -c is too small"
        return "schedule", "likely", f"{missed}, {why}."
    why = "so the server is too slow for it or -c is too small"
    return "server", "likely", f"{missed}, {why}."


def _is_own_pace(report: Results, in_flight: float) -> bool:
    """Return whether few of the users wait for the server, on average."""
    return in_flight <= WAITING_SHARE * report.plan.connections
