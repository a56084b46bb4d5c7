"""`abench ab-test URL1 URL2`: measures two servers in turn and compares them."""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console

from abench.cli.bench import exit_code, run
from abench.cli.ci_options import parse_percent
from abench.cli.compare import Tolerance, print_comparison
from abench.cli.options import declare
from abench.cli.plan_options import with_run_options
from abench.errors import ParameterError
from abench.plan import quantities
from abench.plan.plan import Plan
from abench.stats.results import Results
from abench.stats.units import decimal

SECTIONS = {
    "Examples": (
        ("abench ab-test localhost:8000 localhost:8001", "# 5 runs of each"),
        ("abench ab-test --rounds 9 localhost:8000 localhost:8001", "# nine"),
        ("abench ab-test --tolerance 5 localhost:8000 localhost:8001", "# a gate: code 4"),
        ("abench ab-test -c 1k localhost:8000 localhost:8001", "# 1,000 at once"),
    )
}

Urls = Annotated[
    list[str],
    typer.Argument(
        metavar="URL1 URL2",
        help="The two URLs to compare.",
        rich_help_panel="Arguments",
        show_default=False,
    ),
]
Rounds = Annotated[
    int,
    declare(
        "Comparison",
        "--rounds",
        value="N",
        text="Runs of each URL; 3 or more.",
        show_default="5",
        parse=quantities.parse_count,
    ),
]


@with_run_options
def ab_test(
    plan_for: Callable[[list[str]], Plan],
    url: Urls,
    rounds: Rounds = 5,
    tolerance: Tolerance = None,
) -> int:
    """Measure two URLs in turn (A B, B A, A B...) and report how B differs from A.

    Drift of the machine between runs affects both sides alike. The options apply to each run: -t is
    the length of one run.
    """
    if len(url) != 2:
        raise ParameterError("URL", f"ab-test compares two URLs, not {len(url)}")
    if rounds < 3:
        raise ParameterError("--rounds", "must be 3 or more to tell a difference from chance")
    tolerated_percent = parse_percent(tolerance)
    plans = [plan_for([one]) for one in url]
    sides: list[list[Results]] = [[], []]
    for turn in range(rounds):
        for side in (0, 1) if turn % 2 == 0 else (1, 0):
            plan = replace(plans[side], seed=turn)  # chance is the same for both sides
            report = run(plan, quiet=False)
            _print_round(turn, rounds, side, report)
            if code := exit_code(report):
                return code
            sides[side].append(report)
    return print_comparison(sides[0], sides[1], tolerated_percent)


def _print_round(turn: int, rounds: int, side: int, report: Results) -> None:
    line = f"round {turn + 1} of {rounds}  {'AB'[side]}  {decimal(report.pages_per_sec)} pages/sec"
    failed = f"  {report.failed:,} failed" if report.failed else ""
    Console(file=sys.stderr, highlight=False).print(line + failed, style="dim")
