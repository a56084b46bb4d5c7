"""The sentences of a report about a scenario."""

from collections.abc import Iterator
from typing import NamedTuple

from abench.stats.scenario_results import ScenarioResult
from abench.stats.units import count, decimal, microseconds, plural, significant


class Fact(NamedTuple):
    """What a report says of a scenario, under a name; `is_bad` tells that something failed."""

    name: str
    text: str
    is_bad: bool = False


def facts(scenario: ScenarioResult | None) -> Iterator[Fact]:
    """Yield how the paths fared, then each check, then where the scenario raised."""
    if scenario is None:
        return
    yield Fact("paths", _describe_paths(scenario))
    for one in scenario.checks:
        total = one.passed + one.failed
        if one.failed:
            share = significant(100 * one.failed / total)
            failed = f"{count(one.failed)} of {count(total)} failed ({share} %)"
            yield Fact("check", f"{one.name}: {failed}", is_bad=True)
        else:
            yield Fact("check", f"{one.name}: {count(total)} passed")
    for raised in scenario.exceptions:
        text = f"{raised.place}: {raised.message} ({plural(raised.count, 'time')})"
        yield Fact("raised", text, is_bad=True)


def _describe_paths(scenario: ScenarioResult) -> str:
    """Return how many iterations there were, how long they took, and how many broke off."""
    parts = [f"{count(scenario.completed)} completed", f"{decimal(scenario.per_sec)}/sec"]
    for number, what in ((scenario.failed, "failed"), (scenario.raised, "raised an exception")):
        if number:
            parts.append(f"{count(number)} {what}")
    if scenario.time.percentiles["p50"] is not None:
        p50, p99 = (microseconds(scenario.time.percentiles[name]) for name in ("p50", "p99"))
        parts.append(f"p50 {p50}, p99 {p99} without think time")
    return "   ".join(parts)
