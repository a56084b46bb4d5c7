"""`abench URL`: runs a load test and reports it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated

import typer

from abench.cli import ci_options, completion, invocation
from abench.cli.ci_options import Annotations, Baseline, Otlp, Revision, Tolerance
from abench.cli.commands import COMMANDS
from abench.cli.exit_codes import FAILED, INTERNAL, OK, UNREACHABLE
from abench.cli.help import OTHER, Rows
from abench.cli.options import REPORTS, SUCCESS, WORKERS, declare
from abench.cli.outputs import (
    Csv,
    Hgrm,
    History,
    Html,
    Json,
    Junit,
    Markdown,
    Outputs,
    Prometheus,
)
from abench.cli.plan_options import with_run_options
from abench.cli.streams import print_message
from abench.cli.views import Progress, Tui, View
from abench.errors import ParameterError
from abench.plan import quantities
from abench.plan.plan import Plan
from abench.report.formats import planned_parts
from abench.runner import preflight, worker
from abench.runner.measure import Measurement, Runner
from abench.stats.parts import Threshold
from abench.stats.replay_results import describe_left_out
from abench.stats.results import Results

SECTIONS: Mapping[str, Rows] = {
    "Commands": [(f"abench {name}", one.summary) for name, one in COMMANDS.items()],
    "Exit codes": (
        ("0", "ok"),
        ("1", "the server cannot be reached, or no request succeeded"),
        ("2", "bad parameter"),
        ("3", "internal error"),
        ("4", "a condition of --fail-if is true, or worse than --baseline"),
        ("130", "interrupted; the report is printed all the same"),
    ),
    "Examples": (
        ("abench http://localhost:8000/", "# for ten seconds"),
        ("abench -c 1k -t 30 http://localhost:8000/", "# the highest rate"),
        ("abench -R 500 -t 30 http://localhost:8000/", "# latencies at this rate"),
        ("abench --fail-if 'p99>50ms' localhost:8000", "# a gate for CI: code 4"),
        ("abench --json a.json --html a.html localhost:8000", "# reports as well"),
        ("abench --baseline a.json --tolerance 5 localhost:8000", "# no worse than before?"),
        ("abench -d '{\"n\": {n}}' http://localhost:8000/", "# POST a new body each time"),
    ),
}
"""What --help shows after the options."""


def _print_version(wanted: bool) -> None:
    if wanted:
        from abench.version import abench_version

        print(f"abench {abench_version()}")
        raise typer.Exit


Url = Annotated[
    list[str],
    typer.Argument(
        metavar="URL",
        help="http:// or https:// URLs of one server.",
        rich_help_panel="Arguments",
        show_default=False,
        autocompletion=completion.first_word,
    ),
]
FailIf = Annotated[
    list[str],
    declare(
        SUCCESS,
        "--fail-if",
        value="CONDITION",
        text="Exit with 4 if true: 'p99>50ms', 'errors>1%'.",
        autocompletion=completion.conditions,
    ),
]
ServerPid = Annotated[
    list[int],
    declare(
        WORKERS,
        "--server-pid",
        value="PID",
        text="Report CPU and memory of this process.",
        parse=quantities.parse_count,
    ),
]
ServerCgroup = Annotated[
    str | None,
    declare(WORKERS, "--server-cgroup", value="PATH", text="Report those of this cgroup (v2)."),
]
Dask = Annotated[
    str | None,
    declare(WORKERS, "--dask", value="HOST:PORT", text="Run on -w nodes of this Dask scheduler."),
]
Quiet = Annotated[bool, declare(REPORTS, "--quiet", text="No progress bar and no notes.")]
Version = Annotated[
    bool,
    declare(
        OTHER,
        "--version",
        "-V",
        text="Print the version and exit.",
        callback=_print_version,
        is_eager=True,
    ),
]


@with_run_options
def bench(
    plan_for: Callable[[list[str]], Plan],
    url: Url = [],  # noqa: B006 - typer makes a list of its own
    json: Json = None,
    csv: Csv = None,
    hgrm: Hgrm = None,
    html: Html = None,
    markdown: Markdown = None,
    junit: Junit = None,
    prometheus: Prometheus = None,
    history: History = None,
    otlp: Otlp = None,
    annotations: Annotations = "auto",
    revision: Revision = None,
    fail_if: FailIf = [],  # noqa: B006
    baseline: Baseline = None,
    tolerance: Tolerance = None,
    server_pid: ServerPid = [],  # noqa: B006
    server_cgroup: ServerCgroup = None,
    dask: Dask = None,
    quiet: Quiet = False,
    tui: Tui = False,
    progress: Progress = None,
    show_version: Version = False,  # noqa: ARG001 - its callback has printed it
) -> int:
    """Load a web server; report pages per second, bytes per second and latencies.

    The clock starts when all connections are open. A success is a complete response, in time, with
    a status below 400 or as --expect says; rates and latencies count successes only. By default,
    each connection sends its next request as soon as the response arrives, which finds the highest
    rate. For latencies at a given rate, use --rate or --stages: they are measured from when each
    request was due.
    """
    plan = plan_for(url)
    evaluate = _parse_conditions(fail_if)
    compare = ci_options.parse_baseline(baseline, tolerance, plan)
    outputs = Outputs(json, csv, hgrm, html, markdown, junit, prometheus, history, otlp)
    outputs.annotations = ci_options.parse_annotations(annotations)
    outputs.check(scheduled=plan.schedule is not None, parts=planned_parts(plan))
    view = View(quiet, tui, progress, evaluate)
    view.check()
    if not quiet:
        _print_notes(plan)
    runner = None
    if dask is not None:
        plan, runner = plan_on_cluster(dask, plan)
    report = run(
        plan,
        quiet,
        server_pid,
        server_cgroup,
        runner,
        with_environment=outputs.show_environment or baseline is not None,
        view=view,
    )
    report = ci_options.with_revision(report, revision)
    report = compare(replace(report, thresholds=evaluate(report)))
    return outputs.write_all(report, exit_code(report))


def _parse_conditions(given: list[str]) -> Callable[[Results], tuple[Threshold, ...]]:
    """Return the function that evaluates the conditions; raises ParameterError."""
    if not given:
        return lambda _: ()
    from abench.stats.thresholds import Condition, evaluate

    return partial(evaluate, [Condition.parse(text) for text in given])


def exit_code(report: Results) -> int:
    """Return the exit code of a completed run."""
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
    runner: Runner | None = None,
    *,
    with_environment: bool = True,
    view: View | None = None,
) -> Results:
    """Run `plan`, and show it by `view`; by default as a bar on a terminal, unless `quiet`."""
    measurement = Measurement(
        plan,
        server_pids=server_pids,
        server_cgroup=server_cgroup,
        runner=runner,
        arguments=invocation.get_command_line(),
        with_environment=with_environment,
    )
    with (view or View(quiet)).shown(measurement) as watcher:
        return measurement.run(watcher)


def plan_on_cluster(scheduler: str, plan: Plan) -> tuple[Plan, Runner]:
    """Return the plan for the nodes of a cluster, and the runner for it."""
    if find_spec("distributed") is None:
        raise ParameterError("--dask", "needs dask: pip install distributed")
    cluster = import_module("abench.runner.dask_cluster").Cluster(scheduler, plan.workers)
    return replace(plan, workers=cluster.size), cluster.run


def _print_notes(plan: Plan) -> None:
    if worker.LOOP != "uvloop":
        print_message(
            "uvloop is not installed: with asyncio's loop this client needs about a third more CPU"
        )
    for line in preflight.advice(plan):
        print_message(f"note: {line}")
    if plan.replay and (left_out := describe_left_out(plan.replay.left_out)):
        print_message(f"note: {left_out}")
