"""The rows and sentences of a report about a scenario."""

from collections.abc import Iterator

from abench.stats.scenario_results import ScenarioResult, StepResult
from abench.stats.units import count, decimal, microseconds, plural, significant

MAX_STEPS = 20  # in a report for people: the document has all of them
MAX_NAME = 24  # characters of a step's: its row then fits into 80 columns
STEP_NAMES = ("requests", "failed", "/s", "p50", "p99", "max")


def step_rows(scenario: ScenarioResult, duration_s: float) -> Iterator[tuple[str, list[str]]]:
    """Yield each step, and its columns as in STEP_NAMES; the most frequent ones of many."""
    shown = sorted(scenario.steps, key=_requests, reverse=True)[:MAX_STEPS]
    for step in sorted(shown, key=lambda one: one.name):
        rate = decimal(_requests(step) / duration_s if duration_s else 0.0)
        found = (step.service.percentiles["p50"], step.service.percentiles["p99"], step.service.max)
        counted = [count(_requests(step)), count(step.failed), rate]
        yield _shorten(step.name), [*counted, *map(microseconds, found)]
    if left_out := len(scenario.steps) - len(shown):
        yield f"({plural(left_out, 'more step')})", [""] * len(STEP_NAMES)


def _shorten(name: str) -> str:
    """Leave out the middle of a long name."""
    if len(name) <= MAX_NAME:
        return name
    end = (MAX_NAME - 3) // 2
    return f"{name[: MAX_NAME - 3 - end]}...{name[-end:]}"


def _requests(step: StepResult) -> int:
    return step.succeeded + step.failed


def describe_iterations(scenario: ScenarioResult) -> str:
    """Return how many iterations there were, how long they took, and how many broke off."""
    parts = [f"{count(scenario.completed)} completed", f"{decimal(scenario.per_sec)}/sec"]
    for number, what in ((scenario.failed, "failed"), (scenario.raised, "raised an exception")):
        if number:
            parts.append(f"{count(number)} {what}")
    if scenario.time.percentiles["p50"] is not None:
        p50, p99 = (microseconds(scenario.time.percentiles[name]) for name in ("p50", "p99"))
        parts.append(f"p50 {p50}, p99 {p99} without think time")
    return "   ".join(parts)


def check_lines(scenario: ScenarioResult) -> Iterator[tuple[str, bool, str]]:
    """Yield the name of each check, whether it always passed, and how often it did not."""
    for one in scenario.checks:
        total = one.passed + one.failed
        if one.failed:
            share = significant(100 * one.failed / total)
            yield one.name, False, f"{count(one.failed)} of {count(total)} failed ({share} %)"
        else:
            yield one.name, True, f"{count(total)} passed"


def exception_lines(scenario: ScenarioResult) -> Iterator[str]:
    """Yield where the scenario raised, and what, the most frequent first."""
    for one in scenario.exceptions:
        yield f"{one.place}: {one.message} ({plural(one.count, 'time')})"
