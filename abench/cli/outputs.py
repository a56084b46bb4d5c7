"""Where a report goes: the terminal, and whichever files are asked for."""

import io
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TextIO

import typer

from abench.cli.exit_codes import INTERNAL
from abench.cli.streams import error_reason, print_message
from abench.errors import ParameterError
from abench.plan import inputs
from abench.report import document, html, tables, text
from abench.report.destinations import Destination
from abench.stats.results import Report, latencies_with_waits

Json = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Also write the report as JSON; - is stdout."),
]
Csv = Annotated[
    str | None, typer.Option("--csv", metavar="FILE", help="Also a line for each second.")
]
Hgrm = Annotated[
    str | None,
    typer.Option("--hgrm", metavar="FILE", help="Also the latencies as HdrHistogram plots them."),
]
Html = Annotated[str | None, typer.Option("--html", metavar="FILE", help="Also a page with plots.")]

Write = Callable[[Report, TextIO], None]

SERVICE = "--hgrm of service times"
_WRITERS: dict[str, Write] = {
    "--json": document.write_json,
    "--csv": tables.write_csv,
    "--html": html.write_html,
    "--hgrm": lambda report, stream: tables.write_hgrm(
        latencies_with_waits(report.summary, "response" if report.response else "service"), stream
    ),
    SERVICE: lambda report, stream: tables.write_hgrm(
        latencies_with_waits(report.summary, "service"), stream
    ),
}


@dataclass(slots=True)
class Outputs:
    """The files a report is to be written to."""

    json: str | None = None
    csv: str | None = None
    hgrm: str | None = None
    html: str | None = None
    destinations: dict[str, Destination] = field(default_factory=dict)

    def check(self, *, scheduled: bool, source: Path | None = None) -> None:
        """Raise ParameterError if one cannot be written: before a run, not after it.

        With a schedule there are two distributions, and a file for each: its readers want one in
        a file. Nothing is written over the file `source`, unless it is the same report again.
        """
        named = {"--json": self.json, "--csv": self.csv, "--html": self.html, "--hgrm": self.hgrm}
        found = {
            option: Destination(option, name) for option, name in named.items() if name is not None
        }
        hgrm = found.get("--hgrm")
        if scheduled and hgrm and hgrm.is_file:
            found[SERVICE] = hgrm.sibling("service")
        _check_distinct(found, source)
        if self.html is not None:
            html.check_available()
        self.destinations = found

    def write_all(self, report: Report, code: int) -> int:
        """Fill the files, each for itself, then print the report; return the exit code.

        Where a file is standard output, the text goes to standard error. The files come first, so
        that nobody who stops reading costs one; what cannot be written is said.
        """
        places = sorted(self.destinations.items(), key=lambda each: each[1].is_stdout)
        written = [_write_one(report, option, place) for option, place in places]
        piped = any(place.is_stdout for _, place in places)
        text.write_text(report, sys.stderr if piped else sys.stdout)
        return code if all(written) else code or INTERNAL


def _write_one(report: Report, option: str, place: Destination) -> bool:
    """Write one report; say why it cannot be, and do not let that cost the others."""
    drawn = io.StringIO()
    try:
        _WRITERS[option](report, drawn)
        place.save(drawn.getvalue())
    except BrokenPipeError:  # who reads has enough
        return True
    except Exception as error:  # noqa: BLE001 - a fault in one drawing is none in the others
        why = (
            error_reason(error)
            if isinstance(error, OSError)
            else f"{type(error).__name__}: {error}"
        )
        print_message(f"error: {option}: {place.name}: {why}")
        return False
    return True


def _check_distinct(places: dict[str, Destination], source: Path | None) -> None:
    """Raise ParameterError if one file would be written over another."""
    taken: dict[object, str] = {}
    for option, place in places.items():
        other = taken.setdefault(place.identity, option)
        if other is not option:
            raise ParameterError(place.option, f"{place.name} is where {other} goes already")
        if place.is_file and (reader := inputs.option_reading(place.path)):
            raise ParameterError(option, f"{place.name} is what {reader} reads")
        if source is None or option == "--json":
            continue
        with suppress(OSError):
            if place.is_file and place.path.samefile(source):
                raise ParameterError(option, f"{place.name} is what is read")
