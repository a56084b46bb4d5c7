"""docs/comparison-rounds.md: all that was measured beside other servers, round by round."""

from collections.abc import Iterable
from typing import Any

from benchmarks.kinds import Loaders
from benchmarks.results import Result
from benchmarks.servers import CONFIGS, HERE, SERVERS
from benchmarks.tables import markdown, reasons, rows
from benchmarks.works import WORKS

INTRODUCTION = """\
# Compared with other servers: all rounds

<!-- Written by: python -m benchmarks --render, from benchmarks/results. Do not edit it here. -->

Everything behind [comparison.md](comparison.md), a section for each load. `make compare` repeats
all of it, and `make compare ARGS=--quick` does so in minutes, without saving anything.

- The first column of figures is what a row is about, mostly the **processor time per request of all
  the server's processes**: user and kernel mode, read to the nanosecond before and after each load.
- The server has one core and the load generator another, on the loopback interface. A rate is what
  the two reached together: where the load generator is the slower one, rates are alike and
  processor times are not.
- The servers of a table run side by side and are loaded in turns, round after round; each round
  begins with a different one. Tables show the median, and in parentheses the lowest and the highest
  round. Absolute figures drift from day to day and between machines: quote ratios.
- Before it is loaded, each server's responses are compared with the files, status and bytes. A load
  with a single failed connection, timeout or error status is discarded, and the tables say so.
- *aserve* caches responses, which is its default; *aserve uncached* has `--response-cache off`.
- Access logs are off unless they are what is measured. http.server cannot switch them off: its log
  goes to /dev/null.

[When and where](#when-and-where) it was measured, and [how each server was
started](#how-each-server-was-started), are at the end.
"""

_OF_THE_MACHINE = {"connections"}
"""Values that depend on the limits of the machine which writes the page."""


def page(found: dict[str, Result]) -> str:
    """Return the page."""
    parts = [INTRODUCTION, *map(section, found.values()), conditions(found), commands(found)]
    return "\n".join(part for part in parts if part)


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


def conditions(found: dict[str, Result]) -> str:
    """Return when, where and with what everything was measured."""
    parts = ["## When and where\n"]
    for (machine, versions), results_there in grouped(found.values(), "machine", "versions"):
        told = ", ".join(f"{name} {version}" for name, version in versions.items())
        parts.append(f"{machine}. {told}.\n")
        table = [["measured", "aserve at", "rounds", "what"]]
        for (revision, rounds, seconds), group in grouped(
            results_there, "revision", "rounds", "seconds"
        ):
            dates = sorted({result.conditions["date"] for result in group})
            titles = "; ".join(result.title for result in group)
            when = " to ".join(dict.fromkeys((dates[0], dates[-1])))
            table.append([when, f"`{revision}`", f"{rounds} of {seconds} s", titles])
        parts.append(markdown(table, "---"))
    return "\n".join(parts)


def grouped(found: Iterable[Result], *names: str) -> list[tuple[list[Any], list[Result]]]:
    """Return groups of results that were measured under the same conditions, with these."""
    groups: dict[str, tuple[list[Any], list[Result]]] = {}
    for result in found:
        values = [result.conditions[name] for name in names]
        groups.setdefault(repr(values), (values, []))[1].append(result)
    return list(groups.values())


def commands(found: dict[str, Result]) -> str:
    """Return how each server is started."""
    used = {name for result in found.values() for name in result.conditions["servers"]}
    folder = f"../{CONFIGS.relative_to(HERE.parent)}"
    lines = [["server", "command", "configuration", "with"]]
    for name, server in SERVERS.items():
        if name in used:
            config = f"[{server.config}]({folder}/{server.config})" if server.config else ""
            values = ", ".join(
                f"{key} `{value}`"
                for key, value in server.values.items()
                if value and key not in _OF_THE_MACHINE
            )
            lines.append([name, f"`{server.command}`", config, values])
    text = markdown(lines, "---")
    return f"## How each server was started\n\nEach by `taskset`, on its own core.\n\n{text}"
