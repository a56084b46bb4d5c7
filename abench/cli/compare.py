"""`abench compare A.json B.json`: what has changed, and whether that is sure."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from abench.cli.codes import FAILED, OK
from abench.comparison import Difference, compare, sentence
from abench.errors import ParameterError
from abench.report import Report, document
from abench.report.units import decimal, microseconds, signed, significant

Files = Annotated[
    str,
    typer.Argument(help="A saved report, or several with commas between.", show_default=False),
]
Tolerate = Annotated[
    str | None,
    typer.Option("--tolerate", metavar="PERCENT", help="Exit code 4 if worse by more than this."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")]


def compare_files(
    before: Files, after: Files, tolerate: Tolerate = None, as_json: Json = False
) -> int:
    """Compare saved reports: pages per second, and the percentiles of latency.

    Intervals are by the bootstrap over stretches of the runs; or over whole runs where there are
    three or more of each: A1.json,A2.json,A3.json B1.json,B2.json,B3.json. With --tolerate 5, the
    exit code is 4 if anything is worse by more than 5 %, and that is not likely to be chance.
    """
    limit = percent(tolerate)
    return show(_read(before), _read(after), limit, as_json=as_json)


def _read(names: str) -> list[Report]:
    return [document.read(Path(name)) for name in names.split(",")]


def percent(text: str | None) -> float | None:
    """Return `5` or `5%` as a number; raises ParameterError."""
    try:
        value = None if text is None else float(text.removesuffix("%"))
    except ValueError:
        value = -1.0
    if value is not None and not 0 <= value < float("inf"):
        raise ParameterError("--tolerate", f"{text!r} is no percentage")
    return value


def show(
    before: list[Report], after: list[Report], tolerate: float | None, *, as_json: bool = False
) -> int:
    """Print how `after` differs from `before`; return the exit code."""
    differences = compare(before, after)
    failed = [] if tolerate is None else [one for one in differences if one.fails(tolerate)]
    if as_json:
        plain = [asdict(one) | {"sentence": sentence(one)} for one in differences]
        worse = [one.name for one in failed]
        print(json.dumps({"differences": plain, "worse": worse}, indent=2))
    else:
        _print(differences, failed, (before[0], after[0]), tolerate)
    return FAILED if failed else OK


def _print(
    differences: list[Difference],
    failed: list[Difference],
    first: tuple[Report, Report],
    tolerate: float | None,
) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for name, report in zip("AB", first, strict=True):
        when = report.environment.started_at if report.environment else ""
        console.print(Text.assemble((f"{name}  ", "dim"), report.plan.target.url, f"  {when}"))
    grid = Table.grid(padding=(0, 3))
    for justify in ("left", "right", "right", "right"):
        grid.add_column(justify=justify)
    grid.add_row("", *(Text(name, style="dim") for name in ("A", "B", "difference")))
    for one in differences:
        show_value = decimal if one.more_is_better else microseconds
        grid.add_row(
            Text(one.name, style="dim"),
            show_value(one.before),
            show_value(one.after),
            Text(f"{signed(one.percent)} %", style=_colour(one)),
        )
    console.print("", grid, "", sep="\n")
    for one in differences:
        console.print(Text(sentence(one), style=_colour(one)))
    for one in failed:
        by, allowed = significant(one.worse_by), significant(tolerate or 0)
        worse = f"FAILED {one.name} is worse by {by} %, {allowed} % are tolerated"
        console.print(Text(worse, style="bold red"))


def _colour(one: Difference) -> str:
    if not one.is_sure:
        return ""
    return "red" if one.worse_by > 0 else "green"
