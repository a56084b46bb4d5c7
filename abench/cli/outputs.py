"""The outputs of a report: the terminal, and the files of the options."""

import io
import os
import sys
from collections.abc import Callable, Iterable
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
from abench.report.extras import check_installed
from abench.report.formats import (
    FORMATS,
    PARTS,
    Write,
    check_format,
    write_history,
    write_service_hgrm,
)
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
Markdown = Annotated[
    str | None,
    declare(REPORTS, "--markdown", value="FILE", text="Write Markdown, as for GitHub's summary."),
]
Junit = Annotated[
    str | None, declare(REPORTS, "--junit", value="FILE", text="Write conditions as JUnit's XML.")
]
Prometheus = Annotated[
    str | None,
    declare(REPORTS, "--prometheus", value="FILE", text="Write metrics for node_exporter."),
]
History = Annotated[
    str | None,
    declare(REPORTS, "--history", value="FILE", text="Append the run, for abench trend."),
]

SERVICE = "--hgrm of service times"
_SUFFIXES = {
    **{f"--{name}": f".{name}" for name in ("json", "csv", "html", "hgrm")},
    "--markdown": ".md",
    "--junit": ".xml",
    "--prometheus": ".prom",
    "--history": ".jsonl",
}
_WRITERS: dict[str, Write] = {
    **{option: FORMATS[suffix] for option, suffix in _SUFFIXES.items() if suffix in FORMATS},
    "--history": write_history,
    SERVICE: write_service_hgrm,
    **{f"--csv of {part}": write for part, write in PARTS.items()},
}


@dataclass(slots=True)
class Outputs:
    """The files to which a report is written."""

    json: str | None = None
    csv: str | None = None
    hgrm: str | None = None
    html: str | None = None
    markdown: str | None = None
    junit: str | None = None
    prometheus: str | None = None
    history: str | None = None
    otlp: str | None = None
    annotations: str = "off"
    destinations: dict[str, Destination] = field(default_factory=dict)

    @property
    def show_environment(self) -> bool:
        """Whether any of them has a place for where and how the run was made."""
        shown = self.json, self.html, self.markdown, self.junit, self.history, self.otlp
        return any(one is not None for one in shown)

    def check(
        self, *, scheduled: bool, parts: Iterable[str] = (), source: Path | None = None
    ) -> None:
        """Raise ParameterError, before the run, if an output cannot be written.

        With a schedule, --hgrm writes two distributions to two files, since the format holds one.
        Beside its file, --csv writes one for each sort of `parts` that a run has several of.
        The file `source` is only overwritten by the same report as JSON.
        """
        names = {option: getattr(self, option.removeprefix("--")) for option in _SUFFIXES}
        destinations = {
            option: _destination(option, name) for option, name in names.items() if name is not None
        }
        hgrm = destinations.get("--hgrm")
        if scheduled and hgrm and hgrm.is_file:
            destinations[SERVICE] = hgrm.sibling("service")
        table = destinations.get("--csv")
        if table and table.is_file:
            destinations |= {f"--csv of {part}": table.sibling(part) for part in parts}
        check_distinct(destinations, source)
        for option in filter(_SUFFIXES.get, destinations):
            check_format(_SUFFIXES[option], option)
        if self.otlp is not None:
            _check_otlp(self.otlp)
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
        if self.otlp is not None:
            written.append(_send(report, self.otlp))
        piped = any(destination.is_stdout for _, destination in destinations)
        self._print(report, sys.stderr if piped else sys.stdout)
        return code if all(written) else code or INTERNAL

    def _print(self, report: Results, stream: TextIO) -> None:
        if self.annotations == "off":
            text.write_text(report, stream)
            return
        from abench.report.annotations import commands_stopped, write_annotations

        with commands_stopped(stream):
            text.write_text(report, stream)
        write_annotations(report, stream)


def _destination(option: str, name: str) -> Destination:
    """Return where an output goes.

    A history is appended to, and so is the summary of a step on GitHub: it may have more in it.
    """
    destination = Destination(option, name)
    destination.appends = option == "--history"
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary and destination.is_file and destination.path == Path(summary).resolve():
        destination.appends = True
    return destination


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


def _check_otlp(url: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise ParameterError("--otlp", f"{url!r} is not an http:// or https:// URL")
    check_installed("--otlp", "opentelemetry.exporter", "opentelemetry-exporter-otlp-proto-http")


def _send(report: Results, url: str) -> bool:
    """Send the report to a collector; on failure print the reason and return False."""
    from abench.report.otlp import send_otlp

    try:
        send_otlp(report, url)
    except OSError as error:
        print_message(f"error: --otlp: {url}: {error_reason(error)}")
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
