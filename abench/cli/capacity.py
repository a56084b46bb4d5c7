"""`abench capacity --slo 'p99<50ms' URL`: how much a server can take, and why not more."""

import sys
from functools import partial
from typing import Annotated

import typer
from rich.console import Console

from abench.cli.bench import Dask, Quiet, ServerCgroup, ServerPid, plan_on_cluster, run
from abench.cli.capacity_outputs import CapacityOutputs, Html, Json, Svg
from abench.cli.exit_codes import FAILED, INTERNAL, OK, UNKNOWN, UNREACHABLE
from abench.cli.options import declare
from abench.cli.plan_options import GivenOptions, with_run_options
from abench.errors import ParameterError
from abench.plan import quantities
from abench.plan.plan import Plan
from abench.report import capacity_text, scaling_text
from abench.runner.capacity import Bounds, Run, Tools, client_run, find_capacity
from abench.runner.measure import server_pids_of
from abench.runner.scaling import find_scaling
from abench.runner.signals import stop_on_signal
from abench.stats.capacity import Capacity, End, Outcome, Step
from abench.stats.capacity_search import CapacitySearch
from abench.stats.objective import OPTION, Objective, parse_objectives
from abench.stats.scaling import Point, Scaling

SEARCH = "Search"
LIMIT_S = 120.0
RATE, CONNECTIONS = "rate", "connections"

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
        ("abench capacity --slo 'p99<50ms' --at-least 2k URL", "# a gate for CI: code 4"),
        ("abench capacity --slo 'p99<50ms' --html a.html URL", "# with the curve"),
        ("abench capacity --by connections -c 512 URL", "# what hinders its growth"),
    ),
}

Slo = Annotated[
    list[str],
    declare(SEARCH, OPTION, value="CONDITION", text="What must hold: 'p99<50ms'; repeatable."),
]
By = Annotated[
    str,
    declare(
        SEARCH,
        "--by",
        value="rate|connections",
        text="What grows from step to step.",
        show_default=RATE,
    ),
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
        SEARCH, "--max", value="RATE", text="Try no rate above it.", parse=quantities.parse_rate
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
    by: By = RATE,
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

    With --by connections it makes closed loops with 1, 2, 4 ... connections, up to -c (256), and
    says by the universal scalability law what hinders the growth of the rate.
    """
    objectives = parse_objectives(slo)
    plan = _plan(plan_for, url, by, step_s)
    if by == RATE and not objectives:
        raise ParameterError(OPTION, "is missing: say what must hold, as in --slo 'p99<50ms'")
    if by == CONNECTIONS and highest is not None:
        raise ParameterError("--max", "it limits rates: the most connections are those of -c")
    outputs = CapacityOutputs({"--json": json, "--html": html, "--svg": svg})
    limit_s = plan_for.options.get("duration_s", LIMIT_S)
    connections = plan_for.options.get("connections")
    bounds = Bounds(step_s, limit_s, connections=connections, highest=highest)
    runner = None
    if dask is not None:
        plan, runner = plan_on_cluster(dask, plan)
    here = partial(run, quiet=quiet, with_environment=False)
    pids = server_pid or (() if runner or server_cgroup else server_pids_of(plan))
    load = partial(here, server_pids=pids, server_cgroup=server_cgroup, runner=runner)
    found = _search(by, plan, objectives, load, bounds, None if runner else here, quiet=quiet)
    return outputs.write_all(found, exit_code(found, at_least))


def _plan(plan_for: GivenOptions, url: list[str], by: str, step_s: float) -> Plan:
    """Return the plan of a step, whose rate or connections the search replaces."""
    for name, option in _FOUND_OUT.items():
        if name in plan_for.options:
            raise ParameterError(option, "capacity finds out how much is held: leave it out")
    if by == CONNECTIONS:
        return plan_for(url, duration_s=step_s)
    if by != RATE:
        raise ParameterError("--by", f"must be {RATE} or {CONNECTIONS}, not {by!r}")
    arrivals = plan_for.options.get("arrivals", "poisson")
    return plan_for(url, rate=1.0, arrivals=arrivals, duration_s=step_s)


def _search(
    by: str,
    plan: Plan,
    objectives: tuple[Objective, ...],
    load: Run,
    bounds: Bounds,
    calibrate: Run | None,
    *,
    quiet: bool,
) -> Capacity | Scaling:
    """Search, after `calibrate` has shown what this client can do, if it can."""
    signals: list[int] = []
    tools = Tools(stopped_by=lambda: signals[-1] if signals else None)
    if not quiet:
        tools = tools._replace(watch=_print_step, watch_point=_print_point)
    with stop_on_signal(signals.append):
        client = client_run(plan, calibrate) if calibrate else None
        if client and client.stopped_by:
            signals.append(client.stopped_by)
        reached = client.pages_per_sec if client else None
        find = find_capacity if by == RATE else find_scaling
        return find(plan, objectives, load, bounds, tools, reached)


def exit_code(found: Capacity | Scaling, at_least: float | None) -> int:
    """Return the exit code of a search."""
    if found.stopped_by:
        return 128 + found.stopped_by
    if found.end in _BROKEN:
        return _BROKEN[found.end]
    surely_below = found.interval is not None and found.interval.high < (at_least or 0.0)
    if isinstance(found, Scaling) or found.outcome is Outcome.FOUND:
        return FAILED if surely_below else OK
    if found.outcome is Outcome.NO_RATE_HOLDS:
        return FAILED
    return OK if at_least is not None and found.at_least >= at_least else UNKNOWN


_BROKEN = {End.FAULT: INTERNAL, End.UNREACHABLE: UNREACHABLE}


def _print_step(step: Step, search: CapacitySearch) -> None:
    low, _, high = search.interval
    _print_progress(capacity_text.progress(search.steps, step, low, high))


def _print_point(point: Point) -> None:
    _print_progress(scaling_text.progress(point))


def _print_progress(line: str) -> None:
    Console(file=sys.stderr, highlight=False, soft_wrap=True).print(line, style="dim")
