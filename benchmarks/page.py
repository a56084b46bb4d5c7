"""Write docs/comparison.md and its plots from the results, without measuring."""

from pathlib import Path

from benchmarks import results
from benchmarks.results import Result
from benchmarks.servers import CONFIGS, HERE, SERVERS
from benchmarks.tables import markdown, reasons, rows, said, verdicts
from benchmarks.works import WORKS, Loaders

PAGE = Path("docs/comparison.md")

INTRODUCTION = """\
# Beside other servers

<!-- Written by: python -m benchmarks --render, from benchmarks/results. Do not edit it here. -->

What a request costs in aserve and in other static file servers: the same files, the same load, the
same machine. `make compare` repeats all of it (`make compare ARGS=--quick` in some minutes).

- The main figure is **processor time of all the server's processes for each request**, in
  microseconds: user and kernel mode, read to the nanosecond before and after each load. It says
  what a request costs, whatever else limits the rate. Less is better.
- The server has one core and the load generator another, on the loopback interface. A rate is what
  the two reached together: if the load generator is the slower one, rates are alike and processor
  times are not.
- The servers of a table run side by side and are loaded one after the other, round after round;
  each round begins with a different one. Tables show medians, and in brackets the lowest and the
  highest round. Absolute figures drift from day to day and between machines: quote ratios.
- Before it is loaded, each server's responses are compared with the files, status and bytes. A load
  with one failed connection, timeout or status from 400 is discarded, and the tables say so.
- *aserve* caches responses, which is its default; *aserve uncached* has `--response-cache off`.
- Access logs are off unless they are what is measured. http.server cannot switch them off, and
  writes its lines to /dev/null.
"""

PLOTS = {
    "compare-goals.svg": "Results as multiples of each goal",
    "compare-cpu.svg": "Processor time for each request, by server",
    "compare-rate.svg": "Requests a second, by server",
    "compare-size.svg": "Processor time for each request, by body size",
    "compare-connections.svg": "Processor time for each request, by connections",
    "compare-loaders.svg": "Processor time for each request of the load generators",
}


def write(root: Path) -> None:
    """Write the page and the plots of the results beneath a folder."""
    from benchmarks import plots  # noqa: PLC0415 - matplotlib takes a second, and only this needs it

    found = results.read(root / results.FOLDER)
    drawn = plots.draw(found, root / plots.FOLDER)
    (root / PAGE).parent.mkdir(parents=True, exist_ok=True)
    (root / PAGE).write_text(page(found, drawn))


def page(found: dict[str, Result], drawn: list[str]) -> str:
    """Return the page."""
    parts = [INTRODUCTION, *map(conditions_of, kinds_of_conditions(found)), goals(found)]
    parts += [f"![{PLOTS[name]}](images/{name})\n" for name in drawn]
    parts += [section(result) for result in found.values()]
    parts.append(commands(found))
    return "\n".join(part for part in parts if part)


def kinds_of_conditions(found: dict[str, Result]) -> list[list[Result]]:
    """Return the results in groups that were measured under the same conditions."""
    groups: dict[str, list[Result]] = {}
    for result in found.values():
        kept = ("machine", "revision", "versions", "rounds", "seconds")
        groups.setdefault(repr([result.conditions[name] for name in kept]), []).append(result)
    return list(groups.values())


def conditions_of(group: list[Result]) -> str:
    """Say when, where and with what some works were measured."""
    one = group[0].conditions
    dates = sorted(result.conditions["date"] for result in group)
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    versions = ", ".join(f"{name} {told}" for name, told in one["versions"].items())
    works = "" if len(group) == len(WORKS) else ": " + ", ".join(r.title for r in group)
    return (
        f"Measured {when}, {one['rounds']} rounds of {one['seconds']} s, aserve at "
        f"`{one['revision']}`{works}. {one['machine']}. {versions}.\n"
    )


def goals(found: dict[str, Result]) -> str:
    """Return the table of goals."""
    head = ["work", "goal", "found"]
    table = [
        [result.title, f"{goal.of}: {goal}", said(verdict)]
        for result in found.values()
        for goal, verdict in verdicts(result)
    ]
    return "## Goals\n\n" + markdown([head, *table], "---")


def section(result: Result) -> str:
    """Return what was found for one work."""
    work = WORKS[result.work]
    parts = [f"## {result.title[0].upper()}{result.title[1:]}\n"]
    if work.note:
        parts.append(work.note + "\n")
    if table := rows(result):
        parts.append(markdown(table))
    parts += [f"- {reason}" for reason in reasons(result)]
    if result.thrown_out:
        parts.append("")
    if load := result.conditions["load"]:
        parts.append(f"`{load}`\n")
    if isinstance(work.kind, Loaders):
        parts += [f"- `{command}`" for command in result.conditions["servers"].values()]
        parts.append("")
    return "\n".join(parts)


def commands(found: dict[str, Result]) -> str:
    """Return how each server is started."""
    used = {name for result in found.values() for name in result.conditions["servers"]}
    folder = f"../{CONFIGS.relative_to(HERE.parent)}"
    lines = [["server", "command", "configuration", "with"]]
    for name, server in SERVERS.items():
        if name in used:
            config = f"[{server.config}]({folder}/{server.config})" if server.config else ""
            values = ", ".join(f"{key} `{value}`" for key, value in server.values.items())
            lines.append([name, f"`{server.command}`", config, values])
    text = markdown(lines, "---")
    return f"## How each server is started\n\nEach behind `taskset`.\n\n{text}"
