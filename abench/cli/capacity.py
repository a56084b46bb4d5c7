"""`abench capacity --slo 'p99<50ms' URL`: how much a server can take, and why not more."""

import json as json_module
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from abench.cli.bench import run
from abench.cli.exit_codes import FAILED, OK
from abench.cli.options import REPORTS, declare
from abench.cli.plan_options import with_run_options
from abench.errors import ParameterError
from abench.plan import quantities
from abench.plan.plan import Plan
from abench.runner.capacity import PROBE_S, Bounds, find_capacity
from abench.runner.null_server import null_server
from abench.stats.capacity import Capacity, Objective, Step
from abench.stats.capacity_search import CapacitySearch
from abench.stats.units import decimal

SEARCH = "Search"
LIMIT_S = 120.0

SECTIONS = {
    "Exit codes": (
        ("0", "ok"),
        ("1", "the server cannot be reached, or no request succeeded"),
        ("2", "bad parameter"),
        ("4", "the capacity is below --at-least"),
        ("130", "interrupted; what is known is printed all the same"),
    ),
    "Examples": (
        ("abench capacity --slo 'p99<50ms' localhost:8000", "# about two minutes"),
        ("abench capacity --slo 'p99<50ms' --slo 'errors<0.1%' URL", "# both must hold"),
        ("abench capacity --slo 'p95<100ms' --step 10 -t 10m URL", "# slower, and surer"),
        ("abench capacity --slo 'p99<50ms' --at-least 2000 URL", "# a gate for CI: code 4"),
    ),
}

Slo = Annotated[
    list[str],
    declare(SEARCH, "--slo", value="CONDITION", text="What must hold: 'p99<50ms'; repeatable."),
]
StepLength = Annotated[
    float,
    declare(
        SEARCH,
        "--step",
        value="SECONDS",
        text="Length of a step, at least.",
        show_default="5",
        parse=quantities.parse_seconds,
    ),
]
AtLeast = Annotated[
    float | None,
    declare(
        SEARCH,
        "--at-least",
        value="RATE",
        text="Exit with 4 if it is surely less.",
        parse=quantities.parse_rate,
    ),
]
Json = Annotated[
    str | None,
    declare(REPORTS, "--json", value="FILE", text="Write the answer as JSON; - is stdout."),
]
Url = Annotated[
    list[str],
    typer.Argument(
        metavar="URL",
        help="http:// or https:// URLs of one server.",
        rich_help_panel="Arguments",
        show_default=False,
    ),
]


@with_run_options
def capacity(
    plan_for: Callable[[list[str]], Plan],
    url: Url,
    slo: Slo = [],  # noqa: B006 - typer makes a list of its own
    step_s: StepLength = 5.0,
    at_least: AtLeast = None,
    json: Json = None,
) -> int:
    """Find the highest rate at which a server keeps its objectives, and say why it is no higher.

    It makes short runs, each at one rate, by a schedule: above the capacity some objective is
    broken, below it none is. Where the next run is made follows from the ones before, until the
    answer is known to 5 % or -t is over (2 minutes).
    """
    if not slo:
        raise ParameterError("--slo", "is missing: say what must hold, as in --slo 'p99<50ms'")
    objectives = [Objective.parse(text) for text in slo]
    plan = plan_for(url)
    if plan.schedule or plan.requests:
        raise ParameterError("--rate", "capacity finds the rate; leave out rates, stages and -n")
    given = cast("partial[Plan]", plan_for).keywords
    bounds = Bounds(step_s, given.get("duration_s", LIMIT_S), connections=given.get("connections"))
    client = _client_rate(plan)
    found = find_capacity(plan, objectives, bounds, partial(run, quiet=True), _print_step)
    found = replace(found, client_per_sec=client)
    _write(found, json)
    if found.stopped_by:
        return 128 + found.stopped_by
    return FAILED if at_least is not None and found.interval.high < at_least else OK


def _client_rate(plan: Plan) -> float:
    """Return the rate of this client with a server that does nothing."""
    with null_server() as server:
        own = Plan(url=server.url, connections=64, duration_s=PROBE_S, workers=plan.workers)
        return run(own, quiet=True).pages_per_sec


def _print_step(step: Step, search: CapacitySearch) -> None:
    low, _, high = map(decimal, search.interval())
    outcome = "held" if step.held else ", ".join(step.broken)
    line = f"step {search.steps}  {decimal(step.offered)}/s  {outcome}  now {low} to {high}"
    Console(file=sys.stderr, highlight=False).print(line, style="dim")


def _write(found: Capacity, json: str | None) -> None:
    document = json_module.dumps(found.document(), indent=2) + "\n"
    if json == "-":
        print(document, end="")
    elif json is not None:
        Path(json).write_text(document, "utf-8")
    console = Console(file=sys.stderr if json == "-" else None, highlight=False, soft_wrap=True)
    grid = Table.grid(padding=(0, 3))
    names, *rows = found.table()
    for name in names:
        grid.add_column(justify="right" if name else "left")
    grid.add_row(*(Text(name, style="dim") for name in names))
    for row in rows:
        grid.add_row(*row)
    console.print(grid, "", *found.sentences(), sep="\n")
