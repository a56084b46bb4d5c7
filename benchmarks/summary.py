"""The one table of docs/comparison.md: a work for each row, a product for each column."""

from typing import NamedTuple

from benchmarks.figures import TIMES, medians, shown
from benchmarks.results import Result
from benchmarks.servers import SERVERS
from benchmarks.tables import Rows

OURS = "aserve"
PRODUCTS = ("nginx", "lighttpd", "h2o", "caddy", "granian", "starlette", "aiohttp", "http.server")
_FARTHEST = 2
NOT_MEASURED = "\N{EM DASH}"


class Line(NamedTuple):
    """A row: its work, what it is called there, and which of ours is compared."""

    work: str
    title: str
    ours: str = OURS


LINES = (
    Line("1k-64", "1 KB, 64 connections"),
    Line("1k-1000", "1 KB, 1,000 connections"),
    Line("closing", "1 KB, a new connection each"),
    Line("many", "5,000 files of 1 KB, at random"),
    Line("log", "1 KB, with an access log", "aserve log"),
    Line("304", "304 Not Modified"),
    Line("100k", "100 KB"),
    Line("1m", "1 MB"),
    Line("100m", "100 MB"),
    Line("cold", "50,000 files of 1 KB, nothing cached by the server", "aserve uncached"),
)


def table(found: dict[str, Result]) -> Rows:
    """Return headings and a row for each work: microseconds, and multiples of what aserve takes."""
    lines = [(line, medians(found[line.work].rounds, "us")) for line in LINES if line.work in found]
    lines = [(line, costs) for line, costs in lines if line.ours in costs]
    columns = [name for name in PRODUCTS if any(_cheapest(costs, name) for _, costs in lines)]
    head = ["", OURS, *columns]
    return [head, *(_row(line, costs, columns) for line, costs in lines)]


def said(found: dict[str, Result]) -> str:
    """Return in how many rows aserve costs least, and where it is farthest behind."""
    ratios = []
    for line in LINES:
        costs = medians(found[line.work].rounds, "us") if line.work in found else {}
        others = {name: cost for name in PRODUCTS if (cost := _cheapest(costs, name)) is not None}
        if line.ours in costs and others:
            best = min(others, key=others.__getitem__)
            ratios.append((costs[line.ours] / others[best], best, line.title))
    if not ratios:
        return ""
    first = sum(ratio <= 1 for ratio, *_ in ratios)
    behind = [
        f"{title} ({multiple(ratio)} times {best})"
        for ratio, best, title in sorted(ratios, reverse=True)[:_FARTHEST]
        if ratio > 1
    ]
    told = f"aserve is the cheapest in {first} of {len(ratios)} rows."
    return told + (f" It is farthest behind with {', and '.join(behind)}.\n" if behind else "\n")


def _row(line: Line, costs: dict[str, float], columns: list[str]) -> list[str]:
    ours = costs[line.ours]
    return [line.title, f"**{shown(ours)}**", *(_cell(costs, name, ours) for name in columns)]


def _cell(costs: dict[str, float], product: str, ours: float) -> str:
    cheapest = _cheapest(costs, product)
    if cheapest is None:
        return NOT_MEASURED
    return f"{TIMES}\N{NO-BREAK SPACE}{multiple(cheapest / ours)}<br>{shown(cheapest)}"


def multiple(ratio: float) -> str:
    """Return a multiple with two digits behind the point, and none where that would be noise."""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def _cheapest(costs: dict[str, float], product: str) -> float | None:
    """Return the least that any configuration of a product takes."""
    return min(
        (cost for name, cost in costs.items() if _product(name) == product),
        default=None,
    )


def _product(name: str) -> str:
    """Return the column of a server: http.server has one of its own."""
    server = SERVERS.get(name)
    if server is None:
        return ""
    return name if name in PRODUCTS else server.product
