"""`abench URL`: a run and its report."""

import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from abench import fleet, worker
from abench.cli.codes import INTERNAL, OK, UNREACHABLE
from abench.cli.options import asks
from abench.plan import Plan
from abench.report import REPORTS, Report, derive, files
from abench.report.live import LiveView
from abench.summary import Summary


def _version(wanted: bool) -> None:
    if wanted:
        print(f"abench {version('aserve')}")
        raise typer.Exit


Url = Annotated[
    list[str],
    typer.Argument(metavar="URL", help="http:// or https://, of one server", show_default=False),
]
Json = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Also write the report as JSON; - is stdout."),
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
    quiet: Quiet = False,
    show_version: Version = False,  # noqa: ARG001 - its callback has shown it
) -> int:
    """Load a web server and report pages per second, bytes per second and latencies.

    The clock starts when all connections stand. A success is a complete reply, in time, with a
    status below 400 or as --expect says; rates and latencies count successes only. Connections
    ask again as soon as they have their answer, which finds the highest rate; for latencies under
    a rate that is given, use --rate or --stages: they are counted from when each request was due.

    Exit codes: 0 ok; 1 the server cannot be reached, or no request succeeded; 2 bad parameter;
    3 internal fault; 130 interrupted (the report is printed all the same).
    """
    plan = plan_for(url)
    if json and json != "-":
        files.check("--json", Path(json))
    if not quiet:
        _note(plan)
    report = derive(plan, run(plan, quiet))
    _publish(report, json)
    return exit_code(report)


def exit_code(report: Report) -> int:
    """Return what the shell is told of a run that was carried out."""
    if report.stopped_by:
        return 128 + report.stopped_by
    if report.lost_workers or report.faults:
        return INTERNAL
    if report.gave_up or not report.succeeded:
        return UNREACHABLE
    return OK


def run(plan: Plan, quiet: bool) -> Summary:
    """Carry out `plan`, shown while it lasts where somebody looks."""
    if quiet or not sys.stderr.isatty():
        return fleet.run(plan)
    with LiveView(plan, sys.stderr) as view:
        return fleet.run(plan, view)


def say(line: str) -> None:
    """Tell the user something that is not the report."""
    print(f"abench: {line}", file=sys.stderr)


def _note(plan: Plan) -> None:
    if worker.LOOP != "uvloop":
        say("uvloop is not installed: asyncio's own loop costs this client about a third more")
    if plan.replay and plan.replay.left_out:
        say(
            f"{plan.replay.left_out} lines of the log are left out: not safe methods, or no request"
        )


def _publish(report: Report, json: str | None) -> None:
    """Print the report; with JSON on standard output, on standard error."""
    if json == "-":
        REPORTS["json"](report, sys.stdout)
        REPORTS["text"](report, sys.stderr)
        return
    REPORTS["text"](report, sys.stdout)
    if json:
        files.save(Path(json), lambda stream: REPORTS["json"](report, stream))
