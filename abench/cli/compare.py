"""`abench compare A.json B.json`: what has changed, and whether it is significant."""

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from abench.cli.ci_options import parse_percent
from abench.cli.exit_codes import FAILED, OK
from abench.cli.options import REPORTS, declare
from abench.errors import ParameterError
from abench.plan import inputs
from abench.report import document
from abench.report.differences import render_differences, render_plans
from abench.report.markdown import format_comparison
from abench.stats.comparison import compare, distinct_runs
from abench.stats.difference import Difference, PlanDifferences, describe_difference
from abench.stats.plan_differences import plan_differences
from abench.stats.results import Results
from abench.stats.units import significant

SECTIONS = {
    "Examples": (
        ("abench compare a.json b.json", "# one run of each"),
        ("abench compare a1,a2,a3 b1,b2,b3", "# is it chance?"),
        ("abench compare --tolerance 5 a.json b.json", "# a gate: code 4"),
        ("abench compare --json a.json b.json", "# for programs"),
        ("abench compare --markdown a.json b.json", "# for a pull request"),
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
Markdown = Annotated[
    bool, declare(REPORTS, "--markdown", text="Print it in Markdown, for a pull request.")
]


def compare_files(
    before: Before,
    after: After,
    tolerance: Tolerance = None,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> int:
    """Compare saved reports: pages per second and latency percentiles.

    Three or more runs of each side tell a difference from chance, by Welch's t-test:
    A1.json,A2.json,A3.json B1.json,B2.json,B3.json. Five runs find a difference of 10 % between
    runs that vary by 3 %. Fewer runs only show the variation within them. With --tolerance 5, the
    exit code is 4 if a metric is worse by more than 5 % and this is unlikely to be chance.
    """
    if as_json and as_markdown:
        raise ParameterError("--markdown", "cannot be combined with --json")
    tolerated_percent = parse_percent(tolerance)
    form = _print_json if as_json else _print_markdown if as_markdown else _print_text
    return print_comparison(read_runs(before), read_runs(after), tolerated_percent, form)


def read_runs(names: str, option: str = "compare") -> list[Results]:
    """Return the saved reports `A1.json,A2.json`; raises ParameterError."""
    found = names.split(",")
    if not all(found):
        raise ParameterError(option, f"{names!r}: the name of a file is missing")
    for name in found:
        with suppress(OSError):  # reported where it is opened
            inputs.record_input(option, name)
    return [document.read_report(Path(name)) for name in found]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sides and what differs; `failed` is what is worse by more than the tolerance."""

    sides: tuple[list[Results], list[Results]]
    plans: PlanDifferences
    differences: list[Difference]
    failed: list[Difference]
    tolerance: float | None

    def describe_failure(self, one: Difference) -> str:
        """Return by how much a metric is worse than tolerated."""
        by, allowed = significant(one.worse_by), significant(self.tolerance or 0)
        return f"{one.name} is worse by {by} %, the tolerance is {allowed} %"


def print_comparison(
    before: list[Results],
    after: list[Results],
    tolerance: float | None,
    form: Callable[[Comparison], None] | None = None,
) -> int:
    """Print how `after` differs from `before`, as text by default; return the exit code."""
    differences = compare(before, after)
    failed = [] if tolerance is None else [one for one in differences if one.exceeds(tolerance)]
    plans = plan_differences(before, after)
    (form or _print_text)(Comparison((before, after), plans, differences, failed, tolerance))
    return FAILED if failed else OK


def _print_json(found: Comparison) -> None:
    plain = {
        "plans": found.plans,
        "runs": [len(distinct_runs(side)) for side in found.sides],
        "differences": [
            asdict(one) | {"sentence": describe_difference(one)} for one in found.differences
        ],
        "worse": [one.name for one in found.failed],
    }
    print(json.dumps(plain, indent=2))


def _print_markdown(found: Comparison) -> None:
    sides = [_describe_side(side) for side in found.sides]
    failed = list(map(found.describe_failure, found.failed))
    sys.stdout.write(format_comparison(sides, found.plans, found.differences, failed))


def _print_text(found: Comparison) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for name, side in zip("AB", found.sides, strict=True):
        line, ignored = _describe_side(side), _describe_duplicates(side)
        console.print(Text.assemble((f"{name}  ", "dim"), line, (ignored, "yellow")))
    for part in (
        *render_plans(found.plans, ("A", "B")),
        *render_differences(found.differences, ("A", "B")),
        *(Text(f"FAILED {found.describe_failure(one)}", style="bold red") for one in found.failed),
    ):
        console.print(part)


def _describe_side(runs: list[Results]) -> str:
    """Return what was measured, when, and how often."""
    distinct, report = len(distinct_runs(runs)), runs[0]
    when = report.environment.started_at if report.environment else ""
    several = f"  {distinct} runs" if distinct > 1 else ""
    return f"{report.plan.target.url}  {when}{several}"


def _describe_duplicates(runs: list[Results]) -> str:
    duplicates = len(runs) - len(distinct_runs(runs))
    return f"  {duplicates} duplicates ignored" if duplicates else ""
