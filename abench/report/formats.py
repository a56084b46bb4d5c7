"""The forms in which a report is written, by the suffix of the file."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from abench.errors import ParameterError
from abench.report import document, html, svg, tables, text
from abench.report.destinations import Destination
from abench.stats.latency import latencies_with_waits
from abench.stats.results import Results

Write = Callable[[Results, TextIO], None]


def write_hgrm(results: Results, stream: TextIO) -> None:
    """Write the response times, or in a closed loop the service times."""
    which = "response" if results.response else "service"
    tables.write_hgrm(latencies_with_waits(results.summary, which), stream)


def write_service_hgrm(results: Results, stream: TextIO) -> None:
    """Write the service times: with a schedule, beside the response times."""
    tables.write_hgrm(latencies_with_waits(results.summary, "service"), stream)


FORMATS: dict[str, Write] = {
    ".json": document.write_json,
    ".csv": tables.write_csv,
    ".hgrm": write_hgrm,
    ".html": html.write_html,
    ".svg": svg.write_svg,
    ".txt": text.write_plain,
}


def save(results: Results, name: str) -> None:
    """Write a file in the format of its suffix, which is replaced as a whole.

    With a schedule, `run.hgrm` has the response times and `run.service.hgrm` beside it the service
    times. Raises ParameterError if the suffix is unknown or the file cannot be written, and OSError
    if that fails half way.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in FORMATS:
        raise ParameterError("save", f"{name!r} does not end in one of: {', '.join(FORMATS)}")
    if suffix in {".html", ".svg"}:
        html.check_available("save")
    destination = Destination("save", name)
    _write(results, FORMATS[suffix], destination)
    if suffix == ".hgrm" and results.response:
        _write(results, write_service_hgrm, destination.sibling("service"))


def _write(results: Results, write: Write, destination: Destination) -> None:
    stream = io.StringIO()
    write(results, stream)
    destination.save(stream.getvalue())
