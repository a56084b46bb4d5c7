"""`abench compare A.json B.json`: what has changed, and whether it is significant."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from abench.cli.exit_codes import FAILED, OK
from abench.cli.options import REPORTS, declare
from abench.errors import ParameterError
from abench.report import document
from abench.stats.comparison import Difference, compare, describe_difference, distinct_runs
from abench.stats.plan_differences import PlanDifferences, plan_differences
from abench.stats.results import Results
from abench.stats.units import decimal, microseconds, signed, significant

SECTIONS = {
    "Examples": (
        ("abench compare a.json b.json", "# one run of each"),
        ("abench compare a1,a2,a3 b1,b2,b3", "# is it chance?"),
        ("abench compare --tolerance 5 a.json b.json", "# a gate: code 4"),
        ("abench compare --json a.json b.json", "# for programs"),
    )
}

_ARGUMENTS, _COMPARISON = "Arguments", "Comparison"

Before = Annotated[
    str,
    typer.Argument(
        metavar="BEFORE", help="A saved report, or A1,A2,A3.", rich_help_panel=_ARGUMENTS
    ),
]
After = Annotated[
    str,
    typer.Argument(metavar="AFTER", help="What to compare it with.", rich_help_panel=_ARGUMENTS),
]
Tolerance = Annotated[
    str | None,
    declare(
        _COMPARISON, "--tolerance", value="PERCENT", text="Exit with 4 if worse by more than this."
    ),
]
Json = Annotated[bool, declare(REPORTS, "--json", text="Print the comparison as JSON.")]


def compare_files(
    before: Before, after: After, tolerance: Tolerance = None, as_json: Json = False
) -> int:
    """Compare saved reports: pages per second and latency percentiles.

    Three or more runs of each side tell a difference from chance, by Welch's t-test:
    A1.json,A2.json,A3.json B1.json,B2.json,B3.json. Five runs find a difference of 10 % between
    runs that vary by 3 %. Fewer runs only show the variation within them. With --tolerance 5, the
    exit code is 4 if a metric is worse by more than 5 % and this is unlikely to be chance.
    """
    tolerated_percent = parse_percent(tolerance)
    return print_comparison(_read(before), _read(after), tolerated_percent, as_json=as_json)


def _read(names: str) -> list[Results]:
    found = names.split(",")
    if not all(found):
        raise ParameterError(repr(names), "the name of a file is missing")
    return [document.read_report(Path(name)) for name in found]


def parse_percent(text: str | None) -> float | None:
    """Return `5` or `5%` as a number; raises ParameterError."""
    try:
        value = None if text is None else float(text.removesuffix("%"))
    except ValueError:
        value = -1.0
    if value is not None and not 0 <= value < float("inf"):
        raise ParameterError("--tolerance", f"{text!r} is not a percentage")
    return value


def print_comparison(
    before: list[Results], after: list[Results], tolerance: float | None, *, as_json: bool = False
) -> int:
    """Print how `after` differs from `before`; return the exit code."""
    plans = plan_differences(before, after)
    differences = compare(before, after)
    failed = [] if tolerance is None else [one for one in differences if one.exceeds(tolerance)]
    if as_json:
        plain = [asdict(one) | {"sentence": describe_difference(one)} for one in differences]
        worse = [one.name for one in failed]
        runs = [len(distinct_runs(side)) for side in (before, after)]
        found = {"plans": plans, "runs": runs, "differences": plain, "worse": worse}
        print(json.dumps(found, indent=2))
    else:
        console = Console(highlight=False, soft_wrap=True)
        _print_sides(console, (before, after), plans)
        _print_differences(console, differences, failed, tolerance)
    return FAILED if failed else OK


def _print_sides(
    console: Console, sides: tuple[list[Results], list[Results]], plans: PlanDifferences
) -> None:
    """Print what is compared, and how the plans of both sides differ."""
    for name, runs in zip("AB", sides, strict=True):
        distinct, report = len(distinct_runs(runs)), runs[0]
        when = report.environment.started_at if report.environment else ""
        several = f"  {distinct} runs" if distinct > 1 else ""
        ignored = f"  {len(runs) - distinct} duplicates ignored" if distinct < len(runs) else ""
        line = f"{report.plan.target.url}  {when}{several}"
        console.print(Text.assemble((f"{name}  ", "dim"), line, (ignored, "yellow")))
    if plans:
        console.print(Text("\nThese differ as well and may be the reason:", style="yellow"))
        grid = _grid(("left", "left", "left"), "A", "B")
        for name, (before, after) in plans.items():
            grid.add_row(Text(name, style="dim"), Text(before), Text(after))
        console.print(grid)


def _grid(justify_columns: Sequence[JustifyMethod], *names: str) -> Table:
    grid = Table.grid(padding=(0, 3))
    for justify in justify_columns:
        grid.add_column(justify=justify)
    grid.add_row("", *(Text(name, style="dim") for name in names))
    return grid


def _print_differences(
    console: Console,
    differences: list[Difference],
    failed: list[Difference],
    tolerance: float | None,
) -> None:
    grid = _grid(("left", "right", "right", "right"), "A", "B", "difference")
    for one in differences:
        show_value = decimal if one.more_is_better else microseconds
        grid.add_row(
            Text(one.name, style="dim"),
            show_value(one.before),
            show_value(one.after),
            Text(f"{signed(one.percent)} %", style=_style(one)),
        )
    console.print("", grid, "", sep="\n")
    for one in differences:
        console.print(Text(describe_difference(one), style=_style(one)))
    for one in failed:
        by, allowed = significant(one.worse_by), significant(tolerance or 0)
        worse = f"FAILED {one.name} is worse by {by} %, the tolerance is {allowed} %"
        console.print(Text(worse, style="bold red"))


def _style(one: Difference) -> str:
    if not one.is_significant:
        return ""
    return "red" if one.worse_by > 0 else "green"
