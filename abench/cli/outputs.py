"""The outputs of a report: the terminal, and the files of the options."""

import io
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, TextIO

from abench.cli.exit_codes import INTERNAL
from abench.cli.options import REPORTS, declare
from abench.cli.streams import error_reason, print_message
from abench.errors import ParameterError
from abench.plan import inputs
from abench.report import text
from abench.report.destinations import Destination
from abench.report.formats import FORMATS, Write, write_service_hgrm
from abench.stats.results import Results

Json = Annotated[
    str | None,
    declare(REPORTS, "--json", value="FILE", text="Write the report as JSON; - is stdout."),
]
Csv = Annotated[
    str | None, declare(REPORTS, "--csv", value="FILE", text="Write a row for each second as CSV.")
]
Hgrm = Annotated[
    str | None, declare(REPORTS, "--hgrm", value="FILE", text="Write latencies for HdrHistogram.")
]
Html = Annotated[
    str | None, declare(REPORTS, "--html", value="FILE", text="Write a page with plots.")
]

SERVICE = "--hgrm of service times"
_WRITERS: dict[str, Write] = {
    **{f"--{name}": FORMATS[f".{name}"] for name in ("json", "csv", "html", "hgrm")},
    SERVICE: write_service_hgrm,
}


@dataclass(slots=True)
class Outputs:
    """The files to which a report is written."""

    json: str | None = None
    csv: str | None = None
    hgrm: str | None = None
    html: str | None = None
    destinations: dict[str, Destination] = field(default_factory=dict)

    @property
    def show_environment(self) -> bool:
        """Whether any of them has a place for where and how the run was made."""
        return self.json is not None or self.html is not None

    def check(self, *, scheduled: bool, source: Path | None = None) -> None:
        """Raise ParameterError, before the run, if an output cannot be written.

        With a schedule, --hgrm writes two distributions to two files, since the format holds one.
        The file `source` is only overwritten by the same report as JSON.
        """
        names = {"--json": self.json, "--csv": self.csv, "--html": self.html, "--hgrm": self.hgrm}
        destinations = {
            option: Destination(option, name) for option, name in names.items() if name is not None
        }
        hgrm = destinations.get("--hgrm")
        if scheduled and hgrm and hgrm.is_file:
            destinations[SERVICE] = hgrm.sibling("service")
        check_distinct(destinations, source)
        if self.html is not None:
            from abench.report.html import check_available

            check_available()
        self.destinations = destinations

    def write_all(self, report: Results, code: int) -> int:
        """Write the files, then print the report; return the exit code.

        If an output is standard output, the text report goes to standard error. Files are written
        first, so that a closed pipe does not lose one. Errors are printed, one line each.
        """
        destinations = sorted(self.destinations.items(), key=lambda each: each[1].is_stdout)
        written = [
            write_one(option, destination, partial(_WRITERS[option], report))
            for option, destination in destinations
        ]
        piped = any(destination.is_stdout for _, destination in destinations)
        text.write_text(report, sys.stderr if piped else sys.stdout)
        return code if all(written) else code or INTERNAL


def write_one(option: str, destination: Destination, write: Callable[[TextIO], object]) -> bool:
    """Write one output; on failure print the reason and return False, so that others follow."""
    rendered = io.StringIO()
    try:
        write(rendered)
        destination.save(rendered.getvalue())
    except BrokenPipeError:  # the reader has stopped
        return True
    except Exception as error:  # noqa: BLE001 - an error in one format must not stop the others
        reason = (
            error_reason(error)
            if isinstance(error, OSError)
            else f"{type(error).__name__}: {error}"
        )
        print_message(f"error: {option}: {destination.name}: {reason}")
        return False
    return True


def check_distinct(destinations: dict[str, Destination], source: Path | None = None) -> None:
    """Raise ParameterError if one file would overwrite another."""
    owners: dict[object, str] = {}
    for option, destination in destinations.items():
        other = owners.setdefault(destination.identity, option)
        if other is not option:
            raise ParameterError(
                destination.option, f"{destination.name} is already the output of {other}"
            )
        if destination.is_file and (reader := inputs.option_reading(destination.path)):
            raise ParameterError(option, f"{destination.name} is the input of {reader}")
        if source is None or option == "--json":
            continue
        with suppress(OSError):  # the destination is not there yet
            if destination.is_file and destination.path.samefile(source):
                raise ParameterError(option, f"{destination.name} is the report that is read")
