"""`abench calibrate`: how much of a server this machine could show at most."""

import json
from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from abench.cli.bench import exit_code, run
from abench.cli.options import Workers
from abench.cli.streams import print_message
from abench.errors import ParameterError
from abench.plan import quantities
from abench.plan.plan import Plan
from abench.run import coordinator
from abench.run.null_server import null_server
from abench.stats.results import Report
from abench.stats.units import decimal, microseconds

CONNECTIONS = (1, 64, 1_000)

Time = Annotated[
    float,
    typer.Option(
        "--time",
        "-t",
        metavar="SECONDS",
        parser=quantities.option_parser(quantities.parse_seconds, "--time"),
        help="Length of each of the runs.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")]


def calibrate(duration_s: Time = 3.0, workers: Workers = None, as_json: Json = False) -> int:
    """Load a server that does next to nothing, and say what this client can do at most.

    No server on this machine can be measured to be faster than that with the same connections;
    near it, what is measured is this client. The server is a process of abench's own, and shares
    the processors, as any server on this machine would.
    """
    reports: dict[str, Report] = {}
    works = _affordable_plans(Plan(url="http://127.0.0.1/", duration_s=duration_s, workers=workers))
    with null_server() as server:
        for name, work in works.items():
            plan = replace(work, url=server.url)
            reports[name] = run(plan, quiet=False, server_pids=[server.pid])
            if code := exit_code(reports[name]):
                return code
    if as_json:
        plain = {name: _figures(report) for name, report in reports.items()}
        print(json.dumps(plain, indent=2))
    else:
        _print_table(reports)
    return 0


def _affordable_plans(plan: Plan) -> dict[str, Plan]:
    """Return what there are open files for, here and in the server; raises ParameterError."""
    works = {f"{number:,} connections": replace(plan, connections=number) for number in CONNECTIONS}
    works["64, one a request"] = replace(plan, connections=64, keep_alive=False)
    possible, left_out = {}, {}
    for name, work in works.items():
        try:
            coordinator.raise_descriptor_limit(replace(work, workers=1))
            coordinator.raise_descriptor_limit(work)
        except ParameterError as error:
            left_out[name] = error.reason
        else:
            possible[name] = work
    if not possible:
        raise ParameterError("calibrate", next(iter(left_out.values())))
    for name, why in left_out.items():
        print_message(f"note: left out is {name!r}: {why}")
    return possible


def _figures(report: Report) -> dict[str, float | None]:
    return {
        "pages_per_sec": report.pages_per_sec,
        "client_us_per_request": _client_us(report),
        "server_us_per_request": report.server_us_per_request,
        "p50_us": report.service.percentiles["p50"],
        "p99_us": report.service.percentiles["p99"],
    }


def _client_us(report: Report) -> float:
    return sum(report.client.cpu) * report.duration_s * 1e6 / (report.total or 1)


def _print_table(reports: dict[str, Report]) -> None:
    grid = Table.grid(padding=(0, 3))
    names = ("pages/sec", "client", "server", "p50", "p99")
    grid.add_column(no_wrap=True)
    for _ in names:
        grid.add_column(justify="right")
    grid.add_row("", *(Text(name, style="dim") for name in names))
    for name, report in reports.items():
        shown = [microseconds(value) for key, value in _figures(report).items() if "us" in key]
        grid.add_row(Text(name, style="dim"), decimal(report.pages_per_sec), *shown)
    console = Console(highlight=False)
    about = "At most, that is: a result near these is this client's, not the server's."
    console.print(
        grid, "", f"{about} Client and server in processor time for each request.", sep="\n"
    )
