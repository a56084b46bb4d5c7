"""Trends as text: a row for each metric, and a line for each change."""

from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from abench.report.bars import sparkline
from abench.stats.change_points import MIN_SIZE
from abench.stats.comparison import RATE
from abench.stats.trend import Change, Metric, Trend
from abench.stats.units import decimal, microseconds, plural, signed

MAX_SHOWN = 24  # runs in a sparkline: the table fits into 80 columns
_DATE = len("2026-01-31")


def write_text(trends: Sequence[Trend], worse: Sequence[str], stream: TextIO) -> None:
    """Write trends to `stream`, and last what is worse than tolerated."""
    console = Console(file=stream, highlight=False, emoji=False)
    with console.capture() as rendered:
        for trend in trends:
            console.print(Group(*_trend(trend), ""))
        for line in worse:
            console.print(Text(f"FAILED {line}", style="bold red"))
    stream.writelines(f"{line.rstrip()}\n" for line in rendered.get().splitlines())


def describe_runs(trend: Trend) -> str:
    """Return what was measured, how often and when."""
    path = trend.conditions.get("path", "")
    where = trend.conditions.get("server", "") + (path if path.startswith("/") else f" {path}")
    number = plural(len(trend.entries), "run")
    left_out = f", {plural(trend.left_out, 'run')} left out" if trend.left_out else ""
    if not trend.entries:
        return f"{where}  {number}{left_out}"
    first, last = (trend.entries[place].started_at[:_DATE] for place in (0, -1))
    return f"{where}  {number}, {first} to {last}{left_out}"


def describe_label(trend: Trend) -> str:
    """Return what tells these runs from the others of the history."""
    return ", ".join(f"{name}: {value or '-'}" for name, value in trend.label.items())


def describe_change(change: Change, trend: Trend) -> str:
    """Return what has changed, by how much, and from which run on."""
    before, after = (show_value(change.name, value) for value in (change.before, change.after))
    of = f" ({change.entry.revision[:12]})" if change.entry.revision else ""
    which = f"run {change.place + 1} of {len(trend.entries)}"
    return (
        f"{change.entry.started_at[:_DATE]}  {change.name} {signed(change.percent)} %, "
        f"from {before} to {after}, since {which}{of}"
    )


def show_value(name: str, value: float) -> str:
    """Return a rate or a time as text."""
    return decimal(value) if name == RATE else microseconds(value)


def describe_nothing(trend: Trend) -> str:
    """Return that there is no change, or that there are too few runs to find one."""
    if len(trend.entries) < 2 * MIN_SIZE:
        return f"Too few runs to find a change: {2 * MIN_SIZE} are the least."
    return "No change."


def _trend(trend: Trend) -> Iterator[RenderableType]:
    yield Text(describe_runs(trend), style="bold")
    if trend.label:
        yield Text(describe_label(trend), style="dim")
    if not trend.entries:
        return
    yield from ("", _metrics(trend), "")
    for change in trend.changes:
        style = "red" if change.worse_by > 0 else "green"
        yield Text(describe_change(change, trend), style=style)
        for name, (before, after) in change.circumstances.items():
            yield Text(f"  {name} as well: {before} -> {after}", style="yellow")
    if not trend.changes:
        yield Text(describe_nothing(trend))


def _metrics(trend: Trend) -> Table:
    grid = Table.grid(padding=(0, 3))
    for justify in ("left", "right", "right", "right"):
        grid.add_column(justify=justify, no_wrap=True)
    names = ("", "last", "level", "before", plural(min(MAX_SHOWN, len(trend.entries)), "run"))
    grid.add_row(*(Text(name, style="dim") for name in names))
    for metric in trend.metrics:
        grid.add_row(*_row(metric))
    return grid


def _row(metric: Metric) -> Iterator[RenderableType]:
    yield Text(metric.name, style="dim")
    yield show_value(metric.name, metric.values[-1])
    yield show_value(metric.name, metric.levels[-1][2])
    yield show_value(metric.name, metric.levels[-2][2]) if len(metric.levels) > 1 else "-"
    yield sparkline(metric.values[-MAX_SHOWN:])
