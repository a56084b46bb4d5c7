"""A row of the page as a table: medians, the range of the rounds, failures, and what is missing."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.figures import medians, shown
from benchmarks.models.works import WORKS
from benchmarks.results import Result
from benchmarks.tables import Rows, reasons

HEADINGS = {
    "rate": "pages/s",
    "failures": "failed requests",
    "held": "held",
    "us": "processor µs per page",
    "p99_ms": "p99, ms",
    "switches": "context switches per page",
    "threads": "threads and processes",
    "kib_each": "KiB per connection",
    "calls": "system calls per page",
}
_WITH_RANGE = frozenset({"rate", "us"})
_COUNTS = frozenset({"threads", "held"})
NOT_MEASURED = "—"


def contenders_of(result: Result) -> list[str]:
    """Return all that were to be measured: the best first, and at last what was not measured."""
    figure = next((name for name in HEADINGS if medians(result.rounds, name)), "rate")
    found = medians(result.rounds, figure)
    sign = -1 if figure == "rate" else 1
    names = dict.fromkeys((*WORKS[result.work].servers, *result.rounds))
    return sorted(names, key=lambda name: (name not in found, sign * found.get(name, 0)))


def table(result: Result, what: str = "model", without: Sequence[str] = ()) -> Rows:
    """Return headings, and a row for each contender."""
    figures = [name for name in HEADINGS if name not in without and _is_there(result, name)]
    names = contenders_of(result) if what == "model" else list(WORKS[result.work].servers)
    head = [what, *(HEADINGS[name] for name in figures)]
    return [head, *([name, *(cell(result, name, figure) for figure in figures)] for name in names)]


def cell(result: Result, name: str, figure: str) -> str:
    """Return what was found of one contender, NOT_MEASURED if nothing was."""
    found = result.rounds.get(name, {})
    if figure == "failures":
        return _failures(sum(found.get("failed", ())), sum(found.get("requests", ())))
    if not found.get(figure):  # a list: a measured 0 is [0.0]
        return NOT_MEASURED
    median = medians({name: found}, figure)[name]
    if figure in _COUNTS:
        return f"{median:,.0f}"
    return shown(median) + (_range(found[figure]) if figure in _WITH_RANGE else "")


def notes(result: Result) -> list[str]:
    """Return a line for each contender that was not measured or not in each round, and why."""
    lines = reasons(result)
    known = result.rounds.keys() | result.thrown_out.keys()
    if new := [name for name in WORKS[result.work].servers if name not in known]:
        lines.append(f"Not measured yet: {'; '.join(new)}.")
    if any("rate" in found and "switches" not in found for found in result.rounds.values()):
        lines.append(
            f"Context switches are not known ({NOT_MEASURED}) where threads or processes ended "
            "during the load: they take their counts along."
        )
    return lines


def print_row(result: Result, console: Console) -> None:
    """Print a row of the page."""
    shape = Table(title=result.title, title_justify="left", title_style="bold")
    head, *body = table(result)
    body = [row for row in body if row[0] in result.conditions["servers"]]
    for number, heading in enumerate(head):
        shape.add_column(heading, justify="right" if number else "left", no_wrap=not number)
    for row in body:
        shape.add_row(*row)
    console.print(shape)
    for reason in reasons(result):
        console.print(f"  {reason}", highlight=False)


def _is_there(result: Result, figure: str) -> bool:
    if figure == "failures":
        return any(sum(found.get("failed", ())) for found in result.rounds.values())
    return bool(medians(result.rounds, figure))


def _failures(failed: float, requests: float) -> str:
    if not requests:
        return NOT_MEASURED
    return f"{failed:,.0f} of {requests:,.0f}" if failed else "0"


def _range(values: Sequence[float]) -> str:
    return f" ({shown(min(values))} to {shown(max(values))})" if len(values) > 1 else ""
