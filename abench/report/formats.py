"""The forms in which a report is written, by the suffix of the file.

Each is imported when a report is written in it: few runs have any but the text on the terminal.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from abench.errors import ParameterError
from abench.plan.plan import Plan
from abench.report.destinations import Destination
from abench.stats.latency import latencies_with_waits
from abench.stats.results import Results

Write = Callable[[Results, TextIO], None]


def _write_json(results: Results, stream: TextIO) -> None:
    from abench.report.document import write_json

    write_json(results, stream)


def _write_csv(results: Results, stream: TextIO) -> None:
    from abench.report.tables import write_csv

    write_csv(results, stream)


def _write_html(results: Results, stream: TextIO) -> None:
    from abench.report.html import write_html

    write_html(results, stream)


def _write_svg(results: Results, stream: TextIO) -> None:
    from abench.report.svg import write_svg

    write_svg(results, stream)


def _write_text(results: Results, stream: TextIO) -> None:
    from abench.report.text import write_plain

    write_plain(results, stream)


def _write_hgrm(results: Results, stream: TextIO) -> None:
    """Write the response times, or in a closed loop the service times."""
    which = "response" if results.response else "service"
    _write_distribution(results, which, stream)


def write_service_hgrm(results: Results, stream: TextIO) -> None:
    """Write the service times: with a schedule, beside the response times."""
    _write_distribution(results, "service", stream)


def write_stages_csv(results: Results, stream: TextIO) -> None:
    """Write a row for each stage."""
    from abench.report.tables import write_stages_csv as write

    write(results, stream)


def write_urls_csv(results: Results, stream: TextIO) -> None:
    """Write a row for each URL."""
    from abench.report.tables import write_urls_csv as write

    write(results, stream)


PARTS: dict[str, Write] = {"stages": write_stages_csv, "urls": write_urls_csv}
"""What is written beside a file of CSV, if a run has several parts of that sort."""


def parts_of(results: Results) -> list[str]:
    """Return the sorts of parts, as in PARTS, that a run has several of."""
    return _several(len(results.stages), len(results.by_url))


def planned_parts(plan: Plan) -> list[str]:
    """Return the sorts of parts, as in PARTS, that a run of `plan` can have several of."""
    return _several(len(plan.stage_ends_s), len(plan.groups))


def _several(stages: int, urls: int) -> list[str]:
    return [name for name, number in zip(PARTS, (stages, urls), strict=True) if number > 1]


def _write_distribution(results: Results, which: str, stream: TextIO) -> None:
    from abench.report.tables import write_hgrm

    write_hgrm(latencies_with_waits(results.summary, which), stream)


def _write_markdown(results: Results, stream: TextIO) -> None:
    from abench.report.markdown import write_markdown

    write_markdown(results, stream)


def _write_junit(results: Results, stream: TextIO) -> None:
    from abench.report.junit import write_junit

    write_junit(results, stream)


def _write_prometheus(results: Results, stream: TextIO) -> None:
    from abench.report.prometheus import write_prometheus

    write_prometheus(results, stream)


def write_history(results: Results, stream: TextIO) -> None:
    """Write the line that a history of runs has of this one."""
    from abench.report.history import write_entry

    write_entry(results, stream)


FORMATS: dict[str, Write] = {
    ".json": _write_json,
    ".csv": _write_csv,
    ".hgrm": _write_hgrm,
    ".html": _write_html,
    ".svg": _write_svg,
    ".txt": _write_text,
    ".md": _write_markdown,
    ".xml": _write_junit,
    ".prom": _write_prometheus,
}


def check_format(suffix: str, option: str) -> None:
    """Raise ParameterError, before the run, if a library for this format is missing."""
    if suffix in {".html", ".svg"}:
        from abench.report.html import check_available

        check_available(option)
    if suffix == ".prom":
        from abench.report.extras import check_installed

        check_installed(option, "prometheus_client", "prometheus-client")


def save(results: Results, name: str) -> None:
    """Write a file in the format of its suffix, which is replaced as a whole.

    With a schedule, `run.hgrm` has the response times and `run.service.hgrm` beside it the service
    times. Beside `run.csv` are `run.stages.csv` and `run.urls.csv`, if there are several. Raises
    ParameterError if the suffix is unknown or the file cannot be written, and OSError if that fails
    half way.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in FORMATS:
        raise ParameterError("save", f"{name!r} does not end in one of: {', '.join(FORMATS)}")
    check_format(suffix, "save")
    destination = Destination("save", name)
    _write(results, FORMATS[suffix], destination)
    if suffix == ".hgrm" and results.response:
        _write(results, write_service_hgrm, destination.sibling("service"))
    if suffix == ".csv":
        for part in parts_of(results):
            _write(results, PARTS[part], destination.sibling(part))


def _write(results: Results, write: Write, destination: Destination) -> None:
    stream = io.StringIO()
    write(results, stream)
    destination.save(stream.getvalue())
