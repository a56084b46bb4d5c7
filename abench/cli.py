"""The command line: options in, a report out, and an exit code that says how it went."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from abench import fleet, worker
from abench.errors import AbenchError, ParameterError
from abench.plan import Plan
from abench.report import REPORTS, Report, derive, files
from abench.report.live import LiveView
from abench.summary import Summary

# The first four are webbench's. A signal's is the shell's, 128 and its number.
OK, UNREACHABLE, BAD_PARAMETER, INTERNAL = 0, 1, 2, 3
INTERRUPTED = 130

# Every fault of a command line derives from it, whether typer brings its own click or uses another.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"abench {version('aserve')}")
        raise typer.Exit


Url = Annotated[str, typer.Argument(metavar="URL", help="http:// or https://", show_default=False)]
Connections = Annotated[
    int, typer.Option("--connections", "--clients", "-c", metavar="N", help="Held open at once.")
]
Duration = Annotated[
    float | None,
    typer.Option(
        "--time", "--duration", "-t", metavar="SECONDS", help="How long to load; 10 if no -n."
    ),
]
Requests = Annotated[
    int | None,
    typer.Option("--requests", "-n", metavar="N", help="Instead of -t: exactly so many."),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", "-w", metavar="N", help="Processes; one per core if not given."),
]
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", help="Limit for one request.")
]
NoKeepalive = Annotated[
    bool, typer.Option("--no-keepalive", help="A new connection for each request.")
]
Rate = Annotated[
    float | None,
    typer.Option("--rate", "-R", metavar="N", help="Requests per second, on a schedule."),
]
Arrivals = Annotated[
    str, typer.Option("--arrivals", metavar="constant|poisson", help="How they are spaced.")
]
Stages = Annotated[
    str | None,
    typer.Option(
        "--stages", metavar="LIST", help="Rates in turn: 10s@100,30s@1000,ramp:30s@100-5000"
    ),
]
WarmUp = Annotated[
    str | None,
    typer.Option(
        "--warmup", metavar="SECONDS|auto", help="Load this long before the clock starts."
    ),
]
Json = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Also write the report as JSON; - is stdout."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar, no notes.")]
Version = Annotated[
    bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it and exit.")
]


@app.command()
def bench(
    url: Url,
    connections: Connections = 10,
    duration_s: Duration = None,
    requests: Requests = None,
    workers: Workers = None,
    timeout_s: Timeout = 10.0,
    no_keepalive: NoKeepalive = False,
    rate: Rate = None,
    arrivals: Arrivals = "constant",
    stages: Stages = None,
    warmup: WarmUp = None,
    json: Json = None,
    quiet: Quiet = False,
    _show_version: Version = False,
) -> int:
    """Load a web server and report pages per second, bytes per second and latencies.

    The clock starts when all connections stand. A success is a complete reply, in time, with a
    status below 400; rates and latencies count successes only. Connections ask again as soon as
    they have their answer, which finds the highest rate; for latencies under a rate that is given,
    use --rate or --stages: they are counted from when each request was due.

    Exit codes: 0 ok; 1 the server cannot be reached, or no request succeeded; 2 bad parameter;
    3 internal fault; 130 interrupted (the report is printed all the same).
    """
    plan = Plan(
        url=url,
        connections=connections,
        duration_s=duration_s,
        requests=requests,
        workers=workers,
        timeout_s=timeout_s,
        keep_alive=not no_keepalive,
        rate=rate,
        arrivals=arrivals,
        stages=stages,
        warmup_s=_warmup_s(warmup),
        warmup_auto=warmup == "auto",
    )
    if json and json != "-":
        files.check("--json", Path(json))
    if worker.LOOP != "uvloop" and not quiet:
        _say("uvloop is not installed: asyncio's own loop costs this client about a third more")
    report = derive(plan, _run(plan, quiet))
    _publish(report, json)
    return exit_code(report)


def _warmup_s(text: str | None) -> float:
    try:
        return 0.0 if text in {None, "auto"} else float(text or 0)
    except ValueError:
        raise ParameterError("--warmup", f"{text!r} is neither seconds nor auto") from None


def exit_code(report: Report) -> int:
    """Return what the shell is told of a run that was carried out."""
    if report.stopped_by:
        return 128 + report.stopped_by
    if report.lost_workers or report.faults:
        return INTERNAL
    if report.gave_up or not report.succeeded:
        return UNREACHABLE
    return OK


def _run(plan: Plan, quiet: bool) -> Summary:
    if quiet or not sys.stderr.isatty():
        return fleet.run(plan)
    with LiveView(plan, sys.stderr) as view:
        return fleet.run(plan, view)


def _publish(report: Report, json: str | None) -> None:
    """Print the report; with JSON on standard output, on standard error."""
    if json == "-":
        REPORTS["json"](report, sys.stdout)
        REPORTS["text"](report, sys.stderr)
        return
    REPORTS["text"](report, sys.stdout)
    if json:
        files.save(Path(json), lambda stream: REPORTS["json"](report, stream))


def _say(line: str) -> None:
    print(f"abench: {line}", file=sys.stderr)


def _fail(line: str, code: int) -> int:
    _say(f"error: {line}")
    return code


def _called(arguments: list[str] | None) -> int:
    """Run the command, and turn whatever ends it early into one line and an exit code."""
    command = typer.main.get_command(app)
    try:
        code: int = command.main(arguments, prog_name="abench", standalone_mode=False)
    except _UsageError as error:
        return _fail(error.format_message(), BAD_PARAMETER)  # type: ignore[attr-defined]
    except AbenchError as error:
        return _fail(str(error), error.exit_code)
    except OSError as error:
        return _fail(str(error), INTERNAL)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    return code


def main(arguments: list[str] | None = None) -> NoReturn:
    """Be the program `abench`."""
    sys.exit(_called(arguments))
