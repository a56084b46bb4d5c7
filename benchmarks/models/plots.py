"""The plots of the page on the models."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.figures import medians, shown
from benchmarks.models.contenders import ALL, TWO_CORES
from benchmarks.models.page import COSTS, RATES, SIZES
from benchmarks.plots import OTHER, OURS, STYLE
from benchmarks.results import Result

Results = Mapping[str, Result]
_COLUMNS = 3
_PANELS = (
    "small-1",
    "small-64",
    "small-1000",
    "silent-990",
    "closing-64",
    "large-64",
    "compute",
    "compute-2",
    "slow-64",
)
_POOLS = {
    "pool-fast": ("from the page cache", OTHER, "s"),
    "pool-slow": ("the disk takes 50 ms", OURS, "o"),
}


def draw(results: Results, folder: Path) -> list[str]:
    """Write every plot for which there are results; return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(STYLE):
        drawn = [
            name
            for name, figure, title in (
                (RATES, "rate", "Pages per second"),
                (COSTS, "us", "Processor time per page, µs"),
            )
            if _dots(results, figure, title, folder / name)
        ]
        return drawn + ([SIZES] if _sizes(results, folder / SIZES) else [])


def _dots(results: Results, figure: str, title: str, path: Path) -> bool:
    """Draw a panel for each row, with a dot for each contender and a line for its range."""
    panels = [name for name in _PANELS if name in results and _found(results[name], figure)]
    if not panels:
        return False
    names = [name for name in dict.fromkeys((*ALL, *TWO_CORES)) if _anywhere(results, panels, name)]
    count = -(-len(panels) // _COLUMNS)
    high = 0.9 + 0.24 * len(names)
    drawing, axes = plt.subplots(
        count,
        _COLUMNS,
        figsize=(13, count * high),
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for panel, work in zip(axes.flat, panels, strict=False):
        _panel(panel, results[work], figure, names[::-1])
    for empty in axes.flat[len(panels) :]:
        empty.set_axis_off()
    drawing.suptitle(title, x=0.01, ha="left", fontweight="bold")
    drawing.savefig(path, format="svg", metadata={"Date": None})
    plt.close(drawing)
    return True


def _found(result: Result, figure: str) -> dict[str, float]:
    return medians(result.rounds, figure)


def _anywhere(results: Results, panels: list[str], name: str) -> bool:
    return any(name in results[panel].rounds for panel in panels)


def _panel(panel: Axes, result: Result, figure: str, names: list[str]) -> None:
    found = _found(result, figure)
    for place, name in enumerate(names):
        if name in found:
            color = OURS if name.startswith("simulated-proactor") else OTHER
            values, median = result.rounds[name][figure], found[name]
            panel.plot((min(values), max(values)), (place, place), color=color, linewidth=2)
            panel.plot(median, place, "o", color=color, markersize=6)
            panel.annotate(
                shown(median),
                (max(values), place),
                xytext=(7, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
    panel.set_yticks(range(len(names)), names)
    panel.set_xscale("log")
    panel.margins(x=0.3)
    panel.minorticks_off()
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    panel.set_title(result.title, fontsize=9)


def _sizes(results: Results, path: Path) -> bool:
    drawing, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    sizes: list[int] = []
    for name, (label, color, mark) in _POOLS.items():
        found = _found(results[name], "rate") if name in results else {}
        if found:
            sizes = sorted(map(int, found))
            rates = [found[str(size)] for size in sizes]
            axes.plot(sizes, rates, color=color, marker=mark, label=label)
    if sizes:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.set_xlabel("threads of the reactor's pool")
        axes.grid(axis="both")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
        axes.set_title("Pages per second, 64 connections")
        axes.legend()
        drawing.savefig(path, format="svg", metadata={"Date": None})
    plt.close(drawing)
    return bool(sizes)
