"""`abench ab URL1 URL2`: two servers measured in turn, and compared."""

import sys
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from abench.cli.bench import exit_code, run
from abench.cli.compare import Tolerance, parse_percent, print_comparison
from abench.cli.options import with_run_options
from abench.errors import ParameterError
from abench.plan import quantities
from abench.plan.plan import Plan
from abench.stats.results import Report
from abench.stats.units import decimal

Urls = Annotated[
    list[str], typer.Argument(metavar="URL1 URL2", help="Any two URLs.", show_default=False)
]
Rounds = Annotated[
    int,
    typer.Option(
        "--rounds",
        metavar="N",
        parser=quantities.option_parser(quantities.parse_count, "--rounds"),
        help="How often each is measured; 3 or more.",
    ),
]


@with_run_options
def ab_test(
    plan_for: Callable[[list[str]], Plan],
    url: Urls,
    rounds: Rounds = 5,
    tolerance: Tolerance = None,
) -> int:
    """Measure two URLs in turns (A B, B A, A B...) and say how B differs from A.

    What drifts on the machine or between two runs falls on both. All options say how each round is
    made: -t is the length of one.
    """
    if len(url) != 2:
        raise ParameterError("URL", f"ab compares two, not {len(url)}")
    if rounds < 3:
        raise ParameterError("--rounds", "three or more can be told from chance")
    limit = parse_percent(tolerance)
    plans = [plan_for([one]) for one in url]
    sides: list[list[Report]] = [[], []]
    for turn in range(rounds):
        for side in (0, 1) if turn % 2 == 0 else (1, 0):
            report = run(plans[side], quiet=False)
            _print_round(turn, rounds, side, report)
            if code := exit_code(report):
                return code
            sides[side].append(report)
    return print_comparison(sides[0], sides[1], limit)


def _print_round(turn: int, rounds: int, side: int, report: Report) -> None:
    line = f"round {turn + 1} of {rounds}  {'AB'[side]}  {decimal(report.pages_per_sec)} pages/sec"
    failed = f"  {report.failed:,} failed" if report.failed else ""
    Console(file=sys.stderr, highlight=False).print(line + failed, style="dim")
