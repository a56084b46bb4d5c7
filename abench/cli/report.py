"""`abench report FILE.json`: prints a saved report again."""

from pathlib import Path
from typing import Annotated

import typer

from abench.cli.exit_codes import OK
from abench.cli.outputs import Csv, Hgrm, Html, Json, Outputs
from abench.report import document

File = Annotated[
    Path, typer.Argument(metavar="FILE.json", help="A file written by --json.", show_default=False)
]


def redraw(
    file: File, json: Json = None, csv: Csv = None, hgrm: Hgrm = None, html: Html = None
) -> int:
    """Print a saved report again, and write it in other formats."""
    outputs = Outputs(json, csv, hgrm, html)
    report = document.read_report(file)
    outputs.check(scheduled=report.response is not None, source=file)
    return outputs.write_all(report, OK)
