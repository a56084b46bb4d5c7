"""`abench capacity --slo 'p99<50ms' URL`: how much a server can take, and why not more."""

import sys
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from abench.cli import invocation
from abench.cli.bench import Dask, Quiet, ServerCgroup, ServerPid, plan_on_cluster, run
from abench.cli.exit_codes import FAILED, INTERNAL, OK, UNKNOWN, UNREACHABLE
from abench.cli.options import REPORTS, declare
from abench.cli.outputs import check_distinct, write_one
from abench.cli.plan_options import GivenOptions, with_run_options
from abench.errors import ParameterError
from abench.plan import quantities
from abench.plan.plan import Plan
from abench.report import capacity_text
from abench.report.capacity_document import write_json
from abench.report.destinations import Destination
from abench.runner.capacity import Bounds, Run, Tools, client_run, find_capacity
from abench.runner.environment import read_environment
from abench.runner.measure import server_pids_of
from abench.runner.signals import stop_on_signal
from abench.stats.capacity import Capacity, End, Outcome, Step
from abench.stats.capacity_search import CapacitySearch
from abench.stats.objective import OPTION, Objective, parse_objectives

SEARCH = "Search"
LIMIT_S = 120.0

SECTIONS = {
    "Exit codes": (
        ("0", "the capacity is known, and not surely below --at-least"),
        ("1", "the server cannot be reached, or no request succeeded"),
        ("2", "bad parameter"),
        ("3", "internal error"),
        ("4", "no rate holds, or the capacity is surely below --at-least"),
        ("5", "the capacity is higher: this client or --max was the limit"),
        ("130", "interrupted; what is known is printed all the same"),
    ),
    "Examples": (
        ("abench capacity --slo 'p99<50ms' localhost:8000", "# about two minutes"),
        ("abench capacity --slo 'p99<50ms' --slo 'errors<0.1%' URL", "# both must hold"),
        ("abench capacity --slo 'p95<100ms' --step 10 -t 10m URL", "# slower, and surer"),
        ("abench capacity --slo 'p99<50ms' --at-least 2000 URL", "# a gate for CI: code 4"),
        ("abench capacity --slo 'p99<50ms' --html a.html URL", "# with the curve"),
    ),
}

Slo = Annotated[
    list[str],
    declare(SEARCH, OPTION, value="CONDITION", text="What must hold: 'p99<50ms'; repeatable."),
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
Highest = Annotated[
    float | None,
    declare(
        SEARCH,
        "--max",
        value="RATE",
        text="Try no rate above it.",
        show_default="4 times that of a closed loop",
        parse=quantities.parse_rate,
    ),
]
LeastCapacity = Annotated[
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
Html = Annotated[
    str | None, declare(REPORTS, "--html", value="FILE", text="Write a page with the curve.")
]
Svg = Annotated[
    str | None, declare(REPORTS, "--svg", value="FILE", text="Write the curve as an image.")
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
_FOUND_OUT = {"rate": "-R", "stages": "--stages", "requests": "-n", "replay_log": "--replay"}
"""Options that set what this command finds out."""


@with_run_options
def capacity(
    plan_for: GivenOptions,
    url: Url = [],  # noqa: B006 - typer makes a list of its own
    slo: Slo = [],  # noqa: B006
    step_s: StepLength = 5.0,
    highest: Highest = None,
    at_least: LeastCapacity = None,
    json: Json = None,
    html: Html = None,
    svg: Svg = None,
    server_pid: ServerPid = [],  # noqa: B006
    server_cgroup: ServerCgroup = None,
    dask: Dask = None,
    quiet: Quiet = False,
) -> int:
    """Find the highest rate at which a server holds its objectives, and say why it is no higher.

    It makes short runs, each at one rate and on a schedule: above the capacity some objective is
    broken, below it none is. Where the next run is made follows from those before, until the
    answer is known to 5 % or -t is over (2 minutes). -c is chosen for the rate. Requests come at
    random, as from independent users, unless --arrivals constant says otherwise.
    """
    objectives = parse_objectives(slo)
    if not objectives:
        raise ParameterError(OPTION, "is missing: say what must hold, as in --slo 'p99<50ms'")
    plan = _plan(plan_for, url, step_s)
    outputs = Outputs({"--json": json, "--html": html, "--svg": svg})
    bounds = Bounds(
        step_s,
        plan_for.options.get("duration_s", LIMIT_S),
        connections=plan_for.options.get("connections"),
        highest=highest,
    )
    runner = None
    if dask is not None:
        plan, runner = plan_on_cluster(dask, plan)
    here = partial(run, quiet=quiet, with_environment=False)
    pids = server_pid or (() if runner or server_cgroup else server_pids_of(plan))
    load = partial(here, server_pids=pids, server_cgroup=server_cgroup, runner=runner)
    found = _search(plan, objectives, load, bounds, None if runner else here, quiet=quiet)
    return outputs.write_all(found, exit_code(found, at_least))


def _plan(plan_for: GivenOptions, url: list[str], step_s: float) -> Plan:
    """Return the plan of a step, at a rate that the search replaces."""
    for name, option in _FOUND_OUT.items():
        if name in plan_for.options:
            raise ParameterError(option, "capacity finds out how much is held: leave it out")
    arrivals = plan_for.options.get("arrivals", "poisson")
    return plan_for(url, rate=1.0, arrivals=arrivals, duration_s=step_s)


def _search(
    plan: Plan,
    objectives: tuple[Objective, ...],
    load: Run,
    bounds: Bounds,
    calibrate: Run | None,
    *,
    quiet: bool,
) -> Capacity:
    """Search, after `calibrate` has shown what this client can do, if it can."""
    signals: list[int] = []
    tools = Tools(
        watch=(lambda _step, _search: None) if quiet else _print_step,
        stopped_by=lambda: signals[-1] if signals else None,
    )
    with stop_on_signal(signals.append):
        client = client_run(plan, calibrate) if calibrate else None
        if client and client.stopped_by:
            signals.append(client.stopped_by)
        reached = client.pages_per_sec if client else None
        return find_capacity(plan, objectives, load, bounds, tools, reached)


def exit_code(found: Capacity, at_least: float | None) -> int:
    """Return the exit code of a search."""
    if found.stopped_by:
        return 128 + found.stopped_by
    if found.end in _BROKEN:
        return _BROKEN[found.end]
    if found.outcome is Outcome.NO_RATE_HOLDS:
        return FAILED
    if found.outcome is Outcome.FOUND:
        too_low = at_least is not None and found.interval and found.interval.high < at_least
        return FAILED if too_low else OK
    return OK if at_least is not None and found.at_least >= at_least else UNKNOWN


_BROKEN = {End.FAULT: INTERNAL, End.UNREACHABLE: UNREACHABLE}


def _print_step(step: Step, search: CapacitySearch) -> None:
    line = capacity_text.progress(search.steps, step, search.interval.low, search.interval.high)
    Console(file=sys.stderr, highlight=False).print(line, style="dim")


@dataclass(slots=True)
class Outputs:
    """The files that the answer is written to, which are checked before the search."""

    names: dict[str, str | None]
    destinations: dict[str, Destination] = field(init=False)

    def __post_init__(self) -> None:
        self.destinations = {
            option: Destination(option, name)
            for option, name in self.names.items()
            if name is not None
        }
        check_distinct(self.destinations)

    def write_all(self, found: Capacity, code: int) -> int:
        """Write the files, then print the answer; return the exit code."""
        environment = read_environment(invocation.get_command_line() or ())
        writers = {"--json": partial(write_json, found, environment)}
        written = [
            write_one(option, destination, writers[option])
            for option, destination in self.destinations.items()
        ]
        piped = any(destination.is_stdout for destination in self.destinations.values())
        _print_answer(found, Console(file=sys.stderr if piped else None, highlight=False))
        return code if all(written) else code or INTERNAL


def _print_answer(found: Capacity, console: Console) -> None:
    grid = Table.grid(padding=(0, 2))
    for name in capacity_text.STEP_NAMES:
        grid.add_column(justify="right" if name else "left", no_wrap=True)
    grid.add_row(*(Text(name, style="dim") for name in capacity_text.STEP_NAMES))
    for row in capacity_text.table(found):
        grid.add_row(*map(Text, row))
    if found.steps:
        console.print(grid, "")
    answer, *others = capacity_text.sentences(found)
    console.print(Text(answer, style="bold"))
    for sentence in others:
        console.print(Text(sentence))
