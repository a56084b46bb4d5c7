"""`abench report FILE.json`: prints a saved report again."""

from pathlib import Path
from typing import Annotated

import typer

from abench.cli.exit_codes import OK
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
from abench.report import document
from abench.report.formats import parts_of

SECTIONS = {
    "Examples": (
        ("abench report run.json", "# the text again"),
        ("abench report run.json --html run.html", "# a page with plots"),
        ("abench report run.json --csv - | head", "# the first seconds"),
        ("abench report run.json --hgrm run.hgrm", "# for HdrHistogram's plotters"),
        ("abench report run.json --junit run.xml", "# its conditions as test cases"),
    )
}

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE.json",
        help="A file written by --json.",
        rich_help_panel="Arguments",
        show_default=False,
    ),
]


def redraw(
    file: File,
    json: Json = None,
    csv: Csv = None,
    hgrm: Hgrm = None,
    html: Html = None,
    markdown: Markdown = None,
    junit: Junit = None,
    prometheus: Prometheus = None,
    history: History = None,
) -> int:
    """Print a saved report again, and write it in other formats."""
    outputs = Outputs(json, csv, hgrm, html, markdown, junit, prometheus, history)
    report = document.read_report(file)
    outputs.check(scheduled=report.response is not None, parts=parts_of(report), source=file)
    return outputs.write_all(report, OK)
