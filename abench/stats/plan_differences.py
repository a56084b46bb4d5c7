"""How the plans of two sides differ, which may explain a difference of their results."""

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from itertools import islice

from abench.plan.plan import Plan
from abench.stats.difference import PlanDifferences
from abench.stats.phrases import describe_target
from abench.stats.results import Results
from abench.stats.units import byte_size, count, decimal, duration, plural

_FIRST_EPHEMERAL_PORT = 32_768  # of Linux, by default: chosen for a server that asks for port 0
_WITHOUT = ("", "-", "none")
_CIRCUMSTANCES = ("ended", "versions", "statuses")

MAX_SHOWN = 120  # characters: a list may have a million URLs
_FEW = 0.001  # share of the responses with a status: so few explain nothing

# Options that do not change a run or have a row of their own; then the long names of short ones.
_KNOWN = frozenset(
    (
        *("--json", "--csv", "--hgrm", "--html", "--fail-if", "--server-pid", "--server-cgroup"),
        *("-c", "--connections", "--clients", "-t", "--time", "--duration", "-n", "--requests"),
        *("-w", "--workers", "-R", "--rate", "--arrivals", "--stages", "--warmup", "--timeout"),
        *("--pipeline", "-X", "--method", "--quiet", "--no-keepalive", "--http10", "--http09"),
        *("--tui", "--progress"),
        *("--markdown", "--junit", "--prometheus", "--otlp", "--annotations", "--history"),
        *("--baseline", "--tolerance", "--revision"),
    )
)
_FLAGS = frozenset(
    (
        *("--quiet", "--no-keepalive", "--http10", "--http09", "--insecure", "-k", "--tls-resume"),
        *("--follow", "--cookies", "--all-addresses", "--ipv4", "-4", "--ipv6", "-6"),
        "--tui",
    )
)
_LONG = {
    "-4": "--ipv4",
    "-6": "--ipv6",
    "-H": "--header",
    "-d": "--data",
    "-F": "--form",
    "-u": "--user",
    "-b": "--cookie",
    "-p": "--proxy",
    "-k": "--insecure",
}


def plan_differences(before: Sequence[Results], after: Sequence[Results]) -> PlanDifferences:
    """Return what was not the same in all runs, except for the server of each side."""
    servers = [{_server(report): None for report in side} for side in (before, after)]
    found = {}
    if max(map(len, servers)) > 1:
        found["server"] = _shorten(", ".join(servers[0]), ", ".join(servers[1]))
    for name, read in {**_COMPARED, "options": _other_options([*before, *after])}.items():
        one, other = ({read(report): None for report in side} for side in (before, after))
        if len(one | other) > 1:
            found[name] = _shorten(", ".join(one), ", ".join(other))
    return found


def conditions_of(report: Results) -> dict[str, str]:
    """Return what has to be the same for runs to be compared over time, by name.

    A port that the kernel chose does not tell servers apart, and neither do a new release of the
    system or a few bytes of memory tell machines apart. What a run does without is left out, so
    that a later abench, which knows more of such conditions, goes on with the same history.
    """
    found = {
        **{name: read(report) for name, read in _COMPARED.items() if name not in _CIRCUMSTANCES},
        "server": _named_server(report),
        "connections": count(report.plan.connections),
        "machine": _machine_class(report),
        "options": " ".join(sorted(_options(report))),
    }
    return {name: value for name, value in found.items() if value not in _WITHOUT}


def circumstances_of(report: Results) -> dict[str, str]:
    """Return what may explain a difference and does not tell histories apart, by name."""
    plain = {name: _COMPARED[name](report) for name in _CIRCUMSTANCES}
    return {**plain, "connections": _connections(report), "system": _system(report)}


def stable_target(report: Results) -> str:
    """Return what was requested under a name that is the same in every run of a CI job.

    A port that the kernel chose is not in it, or each run would be another test and time series.
    """
    authority = report.plan.target.authority
    return describe_target(report).replace(authority, _named_server(report), 1)


def _named_server(report: Results) -> str:
    target = report.plan.target
    chosen_by_the_kernel = target.port >= _FIRST_EPHEMERAL_PORT
    return target.authority.rpartition(":")[0] if chosen_by_the_kernel else target.authority


def _machine_class(report: Results) -> str:
    machine = report.environment.machine if report.environment else {}
    memory = round(int(machine.get("memory_bytes", 0)) / 1e9)
    return f"{machine.get('processor', '')}, {machine.get('cores', 0)} cores, {memory} GB"


def _system(report: Results) -> str:
    return str(report.environment.machine.get("system", "")) if report.environment else ""


def _shorten(one: str, other: str) -> tuple[str, str]:
    """Shorten two long texts to the part from a little before their first difference."""
    if max(len(one), len(other)) <= MAX_SHOWN:
        return one, other
    pairs = enumerate(zip(one, other, strict=False))
    position = next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
    begin = max(0, position - MAX_SHOWN // 4)
    return _part(one, begin), _part(other, begin)


def _part(text: str, begin: int) -> str:
    end = begin + MAX_SHOWN
    return f"{'...' if begin else ''}{text[begin:end]}{'...' if len(text) > end else ''}"


def _server(report: Results) -> str:
    return report.plan.target.authority


def _resources(report: Results) -> str:
    """Return the requested resources without the server, which may differ between sides."""
    return ", ".join(
        target.resource if weight == 1 else f"{weight} x {target.resource}"
        for target, weight in report.plan.targets
    )


def _end(plan: Plan) -> str:
    times = [] if plan.duration_s is None else [duration(plan.duration_s)]
    return " or ".join([*times, *([plural(plan.requests, "request")] if plan.requests else [])])


def _connections(report: Results) -> str:
    """Return the planned number of connections, and how many were open if that is fewer."""
    plan = report.plan
    short = plan.keep_alive and report.open_connections < plan.connections
    wanted = count(plan.connections)
    return (
        f"{wanted}, {count(report.open_connections)} of them open at the start" if short else wanted
    )


def _schedule(report: Results) -> str:
    plan = report.plan
    if plan.stages:
        return plan.stages
    if plan.rate is not None:
        return f"{decimal(plan.rate)}/s, {plan.arrivals}"
    return "replay of a log" if report.schedule else "none: as fast as the server responds"


def _warmup(report: Results) -> str:
    if report.warmup is None:
        return "none"
    if report.warmup.steady is not None:
        return "auto"
    # The first documents do not have the length.
    return duration(report.plan.warmup_s) if report.plan.warmup_s else "of a given length"


def _ended(report: Results) -> str:
    """Return what ended a run before its planned end."""
    after = duration(round(report.duration_s, 1))
    reasons = {
        f"by a signal after {after}": report.stopped_by,
        f"server unreachable after {after}": report.gave_up,
        f"{plural(report.lost_workers, 'worker')} lost": report.lost_workers,
    }
    return " and ".join(reason for reason, holds in reasons.items() if holds) or "as planned"


def _statuses(report: Results) -> str:
    few = _FEW * sum(report.status.values())
    return ", ".join(str(code) for code, number in report.status.items() if number > few) or "none"


def _versions(report: Results) -> str:
    versions = report.environment.versions if report.environment else {}
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _machine(report: Results) -> str:
    machine = report.environment.machine if report.environment else {}
    return ", ".join(str(value) for value in machine.values())


_COMPARED: dict[str, Callable[[Results], str]] = {
    "scheme": lambda report: report.plan.target.scheme,
    "scenario": lambda report: report.scenario.file if report.scenario else "none",
    "path": _resources,
    "method": lambda report: report.plan.method,
    "body": lambda report: byte_size(report.body_bytes),
    "HTTP": lambda report: report.plan.http,
    "connections": _connections,
    "keep-alive": lambda report: "yes" if report.plan.keep_alive else "no",
    "pipeline": lambda report: count(report.plan.pipeline),
    "schedule": _schedule,
    "end": lambda report: _end(report.plan),
    "ended": _ended,
    "warm-up": _warmup,
    "timeout": lambda report: duration(report.plan.timeout_s),
    "workers": lambda report: count(report.plan.processes),
    "machine": _machine,
    "versions": _versions,
    "statuses": _statuses,
}


def _other_options(reports: Sequence[Results]) -> Callable[[Results], str]:
    """Return a reader of the options that not all runs had in common, such as headers."""
    common = reduce(Counter.__and__, (Counter(_options(report)) for report in reports))

    def read(report: Results) -> str:
        return " ".join((Counter(_options(report)) - common).elements()) or "-"

    return read


def _options(report: Results) -> Iterator[str]:
    """Yield the options of a command, each with its value, that have no row of their own.

    Other words are URLs.
    """
    words = iter(report.environment.command[1:] if report.environment else ())
    for word in words:
        if word == "--":
            return
        taken = _split_options(word, words) if word.startswith("-") and word != "-" else ()
        for name, value in taken:
            if name not in _KNOWN:
                yield shlex.join([_LONG.get(name, name), *value])


def _split_options(word: str, following: Iterator[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the option or the one-letter options in a word, each with its value.

    A value is in the same word or in the next of `following`.
    """
    name, equals, value = word.partition("=")
    if not word.startswith("--"):
        name, equals, value = word[:2], word[2:], word[2:]
    if name not in _FLAGS:
        yield name, [value] if equals else list(islice(following, 1))
        return
    yield name, []
    if value and not word.startswith("--"):
        yield from _split_options(f"-{value}", following)
