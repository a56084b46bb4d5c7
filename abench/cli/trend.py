"""`abench trend FILE`: how the figures of a history of runs have changed."""

import io
import json
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from abench.cli.ci_options import parse_percent
from abench.cli.compare import Tolerance
from abench.cli.exit_codes import FAILED, OK
from abench.cli.options import REPORTS, declare
from abench.cli.streams import print_message
from abench.errors import ParameterError
from abench.plan import inputs
from abench.report.destinations import Destination
from abench.report.formats import check_format
from abench.report.history import read_history
from abench.report.trend_text import describe_change, write_text
from abench.stats.trend import Trend, find_trends

SECTIONS = {
    "Examples": (
        ("abench trend runs.jsonl", "# what has changed"),
        ("abench trend --tolerance 5 runs.jsonl", "# a gate: code 4"),
        ("abench trend --html trend.html runs.jsonl", "# a page with plots"),
    )
}

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="A file that --history has written.",
        rich_help_panel="Arguments",
        show_default=False,
    ),
]
AsJson = Annotated[bool, declare(REPORTS, "--json", text="Print the trend as JSON.")]
Html = Annotated[
    str | None, declare(REPORTS, "--html", value="FILE", text="Write a page with plots.")
]
Svg = Annotated[
    str | None, declare(REPORTS, "--svg", value="FILE", text="Write the plots as one image.")
]


def show_trend(
    file: File,
    tolerance: Tolerance = None,
    as_json: AsJson = False,
    html: Html = None,
    svg: Svg = None,
) -> int:
    """Find changes in a history: of pages per second and of latency percentiles.

    Runs under different conditions, or on different machines, are not mixed. A change is where the
    level of a metric is another one from a run on; of a hundred histories without any, one shows
    one. Three runs of a new level are needed, more if it is close to the old one. With --tolerance
    5, the exit code is 4 if the last change of a metric, in the last ten runs, is worse by more.
    """
    tolerated_percent = parse_percent(tolerance)
    entries, invalid = read_history(file)
    inputs.record_input("FILE", str(file))
    named = {"--html": html, "--svg": svg}
    destinations = [_check(option, name) for option, name in named.items() if name is not None]
    for number in invalid:
        print_message(f"note: line {number} of {file} is no run, and left out")
    trends = find_trends(entries)
    for destination in destinations:
        _save(trends, destination)
    worse = [] if tolerated_percent is None else list(_describe_worse(trends, tolerated_percent))
    piped = any(one.is_stdout for one in destinations)
    stream = sys.stderr if piped else sys.stdout
    if as_json:
        stream.write(json.dumps(_plain(trends, worse), indent=2) + "\n")
    else:
        write_text(trends, worse, stream)
    return FAILED if worse else OK


def _check(option: str, name: str) -> Destination:
    """Return the destination of a plot; raises ParameterError if it cannot be written."""
    check_format(f".{option.removeprefix('--')}", option)
    destination = Destination(option, name)
    if destination.is_file and (reader := inputs.option_reading(destination.path)):
        raise ParameterError(option, f"{name} is the input of {reader}")
    return destination


def _save(trends: Sequence[Trend], destination: Destination) -> None:
    page = import_module("abench.report.trend_page")
    write = page.write_html if destination.option == "--html" else page.write_svg
    stream = io.StringIO()
    write(trends, stream)
    destination.save(stream.getvalue())


def _describe_worse(trends: Sequence[Trend], tolerance: float) -> Iterator[str]:
    for trend in trends:
        yield from (describe_change(one, trend) for one in trend.worse(tolerance))


def _plain(trends: Sequence[Trend], worse: list[str]) -> dict[str, Any]:
    """Return what was found as JSON data."""
    return {"trends": list(map(_plain_trend, trends)), "worse": worse}


def _plain_trend(trend: Trend) -> dict[str, Any]:
    metrics = {
        metric.name: {
            "values": metric.values,
            "levels": [
                {"from": begin, "to": end, "mean": mean} for begin, end, mean in metric.levels
            ],
        }
        for metric in trend.metrics
    }
    changes = [
        {
            "name": one.name,
            "at": one.place,
            "started_at": one.entry.started_at,
            "revision": one.entry.revision,
            "before": one.before,
            "after": one.after,
            "percent": one.percent,
            "circumstances": one.circumstances,
        }
        for one in trend.changes
    ]
    started = [entry.started_at for entry in trend.entries]
    return {
        "conditions": trend.conditions,
        "started_at": started,
        "left_out": trend.left_out,
        "metrics": metrics,
        "changes": changes,
    }
