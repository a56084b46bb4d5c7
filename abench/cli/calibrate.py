"""`abench calibrate`: the highest rates that this client can measure on this machine."""

import json
from dataclasses import replace
from typing import Annotated

from rich.console import Console
from rich.table import Table
from rich.text import Text

from abench.cli.bench import exit_code, run
from abench.cli.options import LOAD, REPORTS, Workers, declare
from abench.cli.streams import print_message
from abench.errors import ParameterError
from abench.plan import quantities
from abench.plan.plan import Plan
from abench.runner import preflight
from abench.runner.null_server import null_server
from abench.stats.results import Results
from abench.stats.units import decimal, microseconds

CONNECTIONS = (1, 64, 1_000)

SECTIONS = {
    "Examples": (
        ("abench calibrate", "# four runs of 3 seconds"),
        ("abench calibrate -t 10", "# longer runs"),
        ("abench calibrate -w 1", "# with one process"),
        ("abench calibrate --json > limits.json", "# for programs"),
    )
}

Time = Annotated[
    float,
    declare(
        LOAD,
        "--time",
        "-t",
        value="SECONDS",
        text="Length of each run.",
        show_default="3",
        parse=quantities.parse_seconds,
    ),
]
Json = Annotated[bool, declare(REPORTS, "--json", text="Print the results as JSON.")]


def calibrate(duration_s: Time = 3.0, workers: Workers = None, as_json: Json = False) -> int:
    """Load a server that does almost nothing, to find the limits of this client.

    No server on this machine can be measured as faster with the same connections; near these
    rates, a result measures this client. The server is a process of abench and shares the CPUs
    with it, as any server on this machine does.
    """
    reports: dict[str, Results] = {}
    plans = _affordable_plans(Plan(url="http://127.0.0.1/", duration_s=duration_s, workers=workers))
    with null_server() as server:
        for name, plan in plans.items():
            of_server = replace(plan, url=server.url)
            reports[name] = run(of_server, quiet=False, server_pids=[server.pid])
            if code := exit_code(reports[name]):
                return code
    if as_json:
        plain = {name: _figures(report) for name, report in reports.items()}
        print(json.dumps(plain, indent=2))
    else:
        _print_table(reports)
    return 0


def _affordable_plans(plan: Plan) -> dict[str, Plan]:
    """Return the plans that the limits of open files allow; raises ParameterError if none."""
    plans = {f"{number:,} connections": replace(plan, connections=number) for number in CONNECTIONS}
    plans["64, one a request"] = replace(plan, connections=64, keep_alive=False)
    affordable, skipped = {}, {}
    for name, candidate in plans.items():
        try:
            preflight.raise_descriptor_limit(replace(candidate, workers=1))
            preflight.raise_descriptor_limit(candidate)
        except ParameterError as error:
            skipped[name] = error.reason
        else:
            affordable[name] = candidate
    if not affordable:
        raise ParameterError("calibrate", next(iter(skipped.values())))
    for name, reason in skipped.items():
        print_message(f"note: skipped {name!r}: {reason}")
    return affordable


def _figures(report: Results) -> dict[str, float | None]:
    return {
        "pages_per_sec": report.pages_per_sec,
        "client_us_per_request": _client_us(report),
        "server_us_per_request": report.server_us_per_request,
        "p50_us": report.service.percentiles["p50"],
        "p99_us": report.service.percentiles["p99"],
    }


def _client_us(report: Results) -> float:
    return sum(report.client.cpu) * report.duration_s * 1e6 / (report.total or 1)


def _print_table(reports: dict[str, Results]) -> None:
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
    note = "These are upper limits: a result near them measures this client, not the server."
    console.print(grid, "", f"{note} Client and server: CPU time per request.", sep="\n")
