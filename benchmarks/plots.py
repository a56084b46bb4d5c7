"""The plots of the page: SVG on white, so that they read on a light page and on a dark one."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from benchmarks.figures import FIGURES, medians, shown
from benchmarks.kinds import Loaders
from benchmarks.results import Result
from benchmarks.works import WORKS

FOLDER = Path("docs/images")

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: small files, and readers can search it
    "svg.hashsalt": "aserve",  # the same figures give the same file
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#767676",
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid.axis": "x",
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
OURS_STANDS_OUT = {"linewidth": 2.6, "zorder": 5}
OURS, FLOOR, OTHER = "#c2410c", "#a3a3a3", "#64748b"
LOOKS = {
    "aserve": (OURS, "o"),
    "aserve uncached": ("#fb923c", "o"),
    "floor": (FLOOR, "x"),
    "nginx": ("#15803d", "s"),
    "nginx sendfile": ("#86c28f", "s"),
    "lighttpd": ("#1d4ed8", "^"),
    "h2o": ("#0e7490", "v"),
    "caddy": ("#7c3aed", "D"),
    "granian": ("#be185d", "P"),
    "starlette": ("#a16207", "X"),
    "aiohttp": ("#57534e", "*"),
    "http.server": ("#000000", "."),
}
"""A color and a mark for each server: told apart without color as well."""

LOADERS = {
    "abench": (OURS, "o"),
    "wrk": ("#15803d", "s"),
    "ab": ("#1d4ed8", "^"),
    "h2load": ("#0e7490", "v"),
    "hey": ("#7c3aed", "D"),
}

BY_SIZE = {"1k-64": 1 << 10, "4k": 4 << 10, "100k": 100 << 10, "1m": 1 << 20, "100m": 100 << 20}
BY_CONNECTIONS = {"1k-1": 1, "1k-64": 64, "1k-256": 256, "1k-1000": 1_000}

Results = Mapping[str, Result]
Plot = Callable[[Results], Figure | None]
"""Draws something, or nothing where the results do not hold it."""


def draw(results: Results, folder: Path) -> list[str]:
    """Write every plot for which there are results; return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(STYLE):
        return [name for name, plot in PLOTS.items() if _drawn(plot, results, folder / name)]


def _drawn(plot: Plot, results: Results, path: Path) -> bool:
    figure = plot(results)
    if figure is None:
        return False
    figure.savefig(path, format="svg", metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)
    return True


def processor_time(results: Results) -> Figure | None:
    """Draw what one request of 1 KB costs each server."""
    return _ranked(results, "us", "1 KB, 64 connections: processor time, µs per request")


def _ranked(results: Results, name: str, title: str) -> Figure | None:
    found = medians(results["1k-64"].rounds, name) if "1k-64" in results else {}
    if not found:
        return None
    best_last = sorted(found, key=found.__getitem__, reverse=not FIGURES[name].more_is_better)
    figure, axes = plt.subplots(figsize=(8, 0.8 + 0.36 * len(found)))
    for place, server in enumerate(best_last):
        color = _rank_color(server)
        # Dots and no bars: a bar on a logarithmic scale begins anywhere.
        axes.plot(found[server], place, "o", color=color, markersize=9)
        _beside(axes, shown(found[server]), found[server], place)
    axes.set_yticks(range(len(best_last)), best_last)
    axes.set_xscale("log")
    axes.grid(axis="both")
    axes.margins(x=0.12)
    axes.set_title(title)
    _plain_numbers(axes.xaxis)
    return figure


def _rank_color(server: str) -> str:
    return OURS if server.startswith("aserve") else FLOOR if server == "floor" else OTHER


def by_size(results: Results) -> Figure | None:
    """Draw processor time over the size of the body."""
    figure = _lines(results, BY_SIZE, "Processor time by body size, µs per request")
    if figure is not None:
        axes = figure.axes[0]
        axes.set_yscale("log")
        axes.set_xticks(list(BY_SIZE.values()), ["1 KB", "4 KB", "100 KB", "1 MB", "100 MB"])
        axes.minorticks_off()
    return figure


def by_connections(results: Results) -> Figure | None:
    """Draw processor time over the number of connections."""
    figure = _lines(results, BY_CONNECTIONS, "1 KB: processor time by connections, µs per request")
    if figure is not None:
        axes = figure.axes[0]
        axes.set_yscale("log")
        _plain_numbers(axes.yaxis)
        axes.set_xticks(list(BY_CONNECTIONS.values()), [f"{n:,}" for n in BY_CONNECTIONS.values()])
        axes.minorticks_off()
    return figure


def _lines(results: Results, works: Mapping[str, int], title: str) -> Figure | None:
    found = {
        place: medians(results[name].rounds, "us")
        for name, place in works.items()
        if name in results
    }
    if len(found) < 2:
        return None
    figure, axes = plt.subplots(figsize=(8, 5))
    for server, (color, mark) in LOOKS.items():
        line = [(place, one[server]) for place, one in found.items() if server in one]
        if len(line) > 1:
            drawn = axes.plot(*zip(*line, strict=True), color=color, marker=mark, label=server)
            plt.setp(drawn, **OURS_STANDS_OUT if server == "aserve" else {"linewidth": 1.3})
    axes.set_xscale("log")
    axes.grid(axis="both")
    axes.set_title(title)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def load_generators(results: Results) -> Figure | None:
    """Draw what a request costs each load generator, as a multiple of what it costs wrk."""
    found = {
        result.title.partition(": ")[2]: medians(result.rounds, "client_us")
        for result in results.values()
        if isinstance(WORKS[result.work].kind, Loaders)
    }
    found = {title: costs for title, costs in found.items() if "wrk" in costs}
    if not found:
        return None
    figure, axes = plt.subplots(figsize=(8, 1 + 0.5 * len(found)))
    titles = list(reversed(found))
    for tool, (color, mark) in LOADERS.items():
        dots = [
            (found[t][tool] / found[t]["wrk"], titles.index(t)) for t in titles if tool in found[t]
        ]
        if dots:
            axes.plot(*zip(*dots, strict=True), mark, color=color, markersize=9, label=tool)
    axes.set_yticks(range(len(titles)), titles)
    axes.set_xscale("log")
    axes.set_ylim(-0.6, len(titles) - 0.4)
    axes.grid(axis="both")
    axes.set_xticks([0.7, 1, 1.5, 2, 3, 4, 6, 10])
    axes.minorticks_off()
    _plain_numbers(axes.xaxis)
    axes.set_title("Processor time per request of load generators, as a multiple of wrk's")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _beside(axes: Axes, text: str, x: float, y: float) -> None:
    axes.annotate(text, (x, y), xytext=(9, 0), textcoords="offset points", va="center")


def _plain_numbers(axis: Axis) -> None:
    axis.set_major_formatter(lambda value, _: f"{value:,.6g}")


PLOTS = {
    "compare-cpu.svg": processor_time,
    "compare-size.svg": by_size,
    "compare-connections.svg": by_connections,
    "compare-loaders.svg": load_generators,
}
