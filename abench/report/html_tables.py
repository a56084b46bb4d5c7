"""The tables of the HTML page that divide a run: into phases, stages and URLs."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from abench.stats import breakdown
from abench.stats.breakdown import Row
from abench.stats.phrases import SEPARATOR
from abench.stats.results import Results
from abench.stats.units import count

MAX_OPEN = 20  # rows of a table that is open at first


def breakdown_tables(report: Results) -> Iterator[str]:
    """Yield a table for each way in which the run can be divided."""
    yield from _table("Phases", "phase", breakdown.PHASE_NAMES, breakdown.phase_rows(report))
    yield from _table("Stages", "stage", breakdown.STAGE_NAMES, breakdown.stage_rows(report))
    yield from _table("URLs", "url", breakdown.URL_NAMES, breakdown.url_rows(report))
    yield from _table("Steps", "step", breakdown.URL_NAMES, breakdown.step_rows(report))


def _table(title: str, what: str, names: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    """Yield a table with its rows, closed at first if there are many; nothing without rows."""
    listed = list(rows)
    if not listed:
        return
    shown = any(one.outcomes for one in listed)
    head = row("th", what, (*names, "outcomes") if shown else names)
    body = "".join(
        row("td", escape(one.label), one.cells, comma_separated(one.outcomes) if shown else None)
        for one in listed
    )
    table = f'<div class="wide"><table class="parts">{head}{body}</table></div>'
    if len(listed) <= MAX_OPEN:
        yield f"<section><h2>{title}</h2>{table}</section>"
    else:
        yield f"<details><summary>{title}: {count(len(listed))}</summary>{table}</details>"


def row(kind: str, name: str, cells: Iterable[str], outcomes: str | None = None) -> str:
    """Return a row of a table: `kind` is th or td, and all are HTML."""
    listed = "".join(f"<{kind}>{cell}</{kind}>" for cell in cells)
    last = "" if outcomes is None else f'<td class="outcomes">{outcomes}</td>'
    return f"<tr><th>{name}</th>{listed}{last}</tr>"


def comma_separated(text: str) -> str:
    """Return a line of figures as a list in prose, as HTML."""
    return escape(", ".join(text.split(SEPARATOR)))
