"""`abench URL`: a run and its report."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated

import typer

from abench import preflight, quantities, worker
from abench.cli import invocation
from abench.cli.codes import FAILED, INTERNAL, OK, UNREACHABLE
from abench.cli.options import asks
from abench.cli.outputs import Csv, Hgrm, Html, Json, Outputs
from abench.cli.streams import say
from abench.errors import ParameterError
from abench.measure import Carry, measure
from abench.plan import Plan
from abench.report import Report
from abench.report.live import LiveView
from abench.report.thresholds import Condition, judge
from abench.version import abench_version


def _version(wanted: bool) -> None:
    if wanted:
        print(f"abench {abench_version()}")
        raise typer.Exit


Url = Annotated[
    list[str],
    typer.Argument(metavar="URL", help="http:// or https://, of one server", show_default=False),
]
FailIf = Annotated[
    list[str],
    typer.Option(
        "--fail-if", metavar="'p99>50ms'", help="Exit code 4 if so; repeatable. Also 'errors>0.1%'."
    ),
]
ServerPid = Annotated[
    list[int],
    typer.Option(
        "--server-pid",
        metavar="PID",
        parser=quantities.option(quantities.count, "--server-pid"),
        help="Tell what this process takes; repeatable.",
    ),
]
ServerCgroup = Annotated[
    str | None,
    typer.Option("--server-cgroup", metavar="PATH", help="Or all of this control group (v2)."),
]
Dask = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="HOST:PORT",
        help="Load from -w of the nodes that this scheduler of dask.distributed has.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar, no notes.")]
Version = Annotated[
    bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it and exit.")
]


@asks
def bench(
    plan_for: Callable[[list[str]], Plan],
    url: Url = [],  # noqa: B006 - typer makes a list of its own
    json: Json = None,
    csv: Csv = None,
    hgrm: Hgrm = None,
    html: Html = None,
    fail_if: FailIf = [],  # noqa: B006
    server_pid: ServerPid = [],  # noqa: B006
    server_cgroup: ServerCgroup = None,
    dask: Dask = None,
    quiet: Quiet = False,
    show_version: Version = False,  # noqa: ARG001 - its callback has shown it
) -> int:
    """Load a web server and report pages per second, bytes per second and latencies.

    The clock starts when all connections stand. A success is a complete reply, in time, with a
    status below 400 or as --expect says; rates and latencies count successes only. Connections
    ask again as soon as they have their answer, which finds the highest rate; for latencies under
    a rate that is given, use --rate or --stages: they are counted from when each request was due.

    Exit codes: 0 ok; 1 the server cannot be reached, or no request succeeded; 2 bad parameter;
    3 internal fault; 4 a condition of --fail-if came true; 130 interrupted (the report is printed
    all the same).

    Other commands: abench compare, ab, report and calibrate, each with --help of its own; and
    abench --classic, which is webbench.
    """
    plan = plan_for(url)
    conditions = [Condition.parse(text) for text in fail_if]
    outputs = Outputs(json, csv, hgrm, html)
    outputs.check(scheduled=plan.schedule is not None)
    if not quiet:
        _note(plan)
    carry = None
    if dask is not None:
        plan, carry = _on_cluster(dask, plan)
    report = run(plan, quiet, server_pid, server_cgroup, carry)
    report = replace(report, thresholds=judge(conditions, report))
    return outputs.publish(report, exit_code(report))


def exit_code(report: Report) -> int:
    """Return what the shell is told of a run that was carried out."""
    if report.stopped_by:
        return 128 + report.stopped_by
    if report.lost_workers or report.faults:
        return INTERNAL
    if report.gave_up or not report.succeeded:
        return UNREACHABLE
    return FAILED if any(one.failed for one in report.thresholds) else OK


def run(
    plan: Plan,
    quiet: bool,
    server_pids: Iterable[int] = (),
    server_cgroup: str | None = None,
    carry: Carry | None = None,
) -> Report:
    """Carry out `plan`, shown while it lasts where somebody looks."""
    measured = partial(
        measure,
        server_pids=server_pids,
        server_cgroup=server_cgroup,
        carry=carry,
        arguments=invocation.published(),
    )
    if quiet or not sys.stderr.isatty():
        return measured(plan)
    with LiveView(plan, sys.stderr) as view:
        return measured(plan, view)


def _on_cluster(scheduler: str, plan: Plan) -> tuple[Plan, Carry]:
    """Return the plan for the nodes of a cluster, and what carries it out there."""
    if find_spec("distributed") is None:
        raise ParameterError("--dask", "it needs dask: pip install distributed")
    cluster = import_module("abench.cluster").Cluster(scheduler, plan.workers)
    return replace(plan, workers=cluster.size), cluster.run


def _note(plan: Plan) -> None:
    if worker.LOOP != "uvloop":
        say("uvloop is not installed: asyncio's own loop costs this client about a third more")
    for line in preflight.advice(plan):
        say(f"note: {line}")
    if plan.replay and plan.replay.left_out:
        say(
            f"{plan.replay.left_out} lines of the log are left out: not safe methods, or no request"
        )
