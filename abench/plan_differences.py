"""How the plans of two sides differ: what may explain a difference between their figures."""

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from abench.plan import Plan
from abench.report.derived import Report
from abench.report.units import count, decimal, duration
from abench.report.words import asked

PlanDifferences = dict[str, tuple[str, str]]
"""By name: what A had, and what B."""

# Options with a value that change no run, or have a line of their own.
_KNOWN = frozenset(
    (
        *("--json", "--csv", "--hgrm", "--html", "--fail-if", "--server-pid", "--server-cgroup"),
        *("-c", "--connections", "--clients", "-t", "--time", "--duration", "-n", "--requests"),
        *("-w", "--workers", "-R", "--rate", "--arrivals", "--stages", "--warmup", "--timeout"),
        *("--pipeline", "-X", "--method"),
    )
)
_FLAGS = frozenset({"--quiet", "--no-keepalive", "--http10", "--http09"})


def plan_differences(before: Sequence[Report], after: Sequence[Report]) -> PlanDifferences:
    """Return what was not the same for all of the runs, other than the server that was asked."""
    found = {}
    for name, read in _ASKED.items():
        one, other = ({read(report): None for report in side} for side in (before, after))
        if len(one | other) > 1:
            found[name] = ", ".join(one), ", ".join(other)
    return {**found, **_options(before[0], after[0])}


def _resource(report: Report) -> str:
    """Return what was asked for, without the server, which two sides may well have two of."""
    plan = report.plan
    return asked(report) if len(plan.targets) > 1 else plan.target.resource


def _end(plan: Plan) -> str:
    times = [] if plan.duration_s is None else [duration(plan.duration_s)]
    return " or ".join([*times, *([f"{count(plan.requests)} requests"] if plan.requests else [])])


def _schedule(report: Report) -> str:
    plan = report.plan
    if plan.stages:
        return plan.stages
    if plan.rate is not None:
        return f"{decimal(plan.rate)}/s, {plan.arrivals}"
    return "a log replayed" if report.paced else "none: as fast as it answers"


def _warmup(report: Report) -> str:
    if report.warmup is None:
        return "none"
    return "auto" if report.warmup.steady is not None else "of a given length"


def _versions(report: Report) -> str:
    versions = report.environment.versions if report.environment else {}
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _machine(report: Report) -> str:
    machine = report.environment.machine if report.environment else {}
    return ", ".join(str(value) for value in machine.values())


_ASKED: dict[str, Callable[[Report], str]] = {
    "path": _resource,
    "method": lambda report: report.plan.method,
    "HTTP": lambda report: report.plan.http,
    "connections": lambda report: count(report.plan.connections),
    "keep-alive": lambda report: "yes" if report.plan.keep_alive else "no",
    "pipeline": lambda report: count(report.plan.pipeline),
    "schedule": _schedule,
    "end": lambda report: _end(report.plan),
    "warm-up": _warmup,
    "timeout": lambda report: duration(report.plan.timeout_s),
    "workers": lambda report: count(report.plan.processes),
    "machine": _machine,
    "versions": _versions,
}


def _options(before: Report, after: Report) -> PlanDifferences:
    """Return the words that only one of the commands has: headers, a body and such."""
    one, other = (Counter(_words(report)) for report in (before, after))
    only = [shlex.join((side - rest).elements()) for side, rest in ((one, other), (other, one))]
    return {"options": (only[0] or "-", only[1] or "-")} if any(only) else {}


def _words(report: Report) -> Iterator[str]:
    """Yield the words of a command that say what is asked and have no line of their own."""
    words = iter(report.environment.command[1:] if report.environment else ())
    for word in words:
        option, equals, _ = word.partition("=")
        if option in _KNOWN and not equals:
            next(words, None)  # its value
        elif not (option in _KNOWN or word in _FLAGS or "://" in word or _has_value(word)):
            yield word


def _has_value(word: str) -> bool:
    """Whether it is a known option with its value in one word, as -c10 is."""
    return word[:2] in _KNOWN and not word.startswith("--")
