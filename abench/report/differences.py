"""Differences between two sides as tables and sentences of rich, for the terminal."""

from collections.abc import Iterator, Sequence

from rich.console import JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from abench.stats.difference import (
    BaselineComparison,
    Difference,
    PlanDifferences,
    describe_difference,
)
from abench.stats.units import decimal, microseconds, plural, signed

Names = tuple[str, str]
"""What both sides are called."""

MAY_BE_THE_REASON = "These differ as well and may be the reason:"


def render_baseline(found: BaselineComparison) -> Iterator[RenderableType]:
    """Yield how a run differs from its baseline."""
    names = ("baseline", "this run")
    line = describe_baseline(found)
    yield Text.assemble(("baseline  ", "dim"), line)
    yield from render_plans(found.plans, names)
    yield from render_differences(found.differences, names)


def describe_baseline(found: BaselineComparison) -> str:
    """Return what the baseline is: its URL, when it was made, and how many runs it has."""
    several = plural(found.runs, "run") if found.runs > 1 else ""
    return "  ".join(filter(None, (found.url, found.started_at, several)))


def render_plans(plans: PlanDifferences, names: Names) -> Iterator[RenderableType]:
    """Yield how the plans of both sides differ, if they do."""
    if not plans:
        return
    yield Text(f"\n{MAY_BE_THE_REASON}", style="yellow")
    grid = _grid(("left", "left", "left"), names)
    for name, values in plans.items():
        grid.add_row(Text(name, style="dim"), *map(Text, values))
    yield grid


def render_differences(differences: Sequence[Difference], names: Names) -> Iterator[RenderableType]:
    """Yield a table of the metrics of both sides, and a sentence for each."""
    grid = _grid(("left", "right", "right", "right"), (*names, "difference"))
    for one in differences:
        name, *values, difference = difference_cells(one)
        grid.add_row(Text(name, style="dim"), *values, Text(difference, style=_style(one)))
    yield from ("", grid, "")
    for one in differences:
        yield Text(describe_difference(one), style=_style(one))


def difference_cells(one: Difference) -> tuple[str, str, str, str]:
    """Return the row of a metric: its name, both values, and their difference."""
    show_value = decimal if one.more_is_better else microseconds
    values = show_value(one.before), show_value(one.after)
    return one.name, *values, f"{signed(one.percent)} %"


def _grid(justify_columns: Sequence[JustifyMethod], names: Sequence[str]) -> Table:
    grid = Table.grid(padding=(0, 3))
    for justify in justify_columns:
        grid.add_column(justify=justify)
    grid.add_row("", *(Text(name, style="dim") for name in names))
    return grid


def _style(one: Difference) -> str:
    if not one.is_significant:
        return ""
    return "red" if one.worse_by > 0 else "green"
