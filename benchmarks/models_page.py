"""The page on the models: tables and plots of what `benchmarks.models` has found."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt

from benchmarks.figures import medians, shown
from benchmarks.page import markdown, picture
from benchmarks.plots import OTHER, OURS, STYLE

PAGE = Path("docs/models.md")
IMAGES = Path("docs/images")
RATES, COSTS, SIZES = "models-rate.svg", "models-cost.svg", "models-pool.svg"
_HEADINGS = {
    "rate": "pages/s",
    "us": "processor µs per page",
    "p99_ms": "p99, ms",
    "switches": "context switches per page",
    "calls": "system calls per page",
    "threads": "threads",
    "kib_each": "KiB per connection",
}

_ABOUT = """The same HTTP, the same site and the same load for each model of `aserve --model`: one
core for the server, one for wrk, medians of interleaved rounds. `make models` writes this page, and
[io-models.md](io-models.md) explains it. The default model is there twice: with its response cache,
and without it, like the others.
"""

Works = Mapping[str, Mapping[str, Any]]


def write(folder: Path, plain: Mapping[str, Any]) -> None:
    """Write the page and its plots below a folder."""
    works: Works = plain["works"]
    with plt.rc_context(STYLE):
        _draw(works, folder / IMAGES)
    (folder / PAGE).write_text(_text(plain, works))


def _text(plain: Mapping[str, Any], works: Works) -> str:
    told = plain["conditions"]
    versions = ", ".join(f"{name} {text}" for name, text in told["versions"].items())
    how = f"{_rounds(works)} rounds, aserve at `{told['revision']}`. {told['machine']}."
    parts = [
        "# Every I/O model, measured\n",
        _ABOUT,
        f"Measured {told['date']}, {how} {versions}.\n",
        picture("Pages per second by model", RATES),
        picture("Processor time per page by model", COSTS),
    ]
    for name, work in works.items():
        if not name.startswith("pool"):
            parts += [f"## {work['title']}\n", markdown(_table(work, "model"))]
            parts += [f"- {model}: {why}" for model, why in work["not"].items()] + [""]
    parts += _calls(works)
    parts += ["## How many threads\n", picture("Pages per second by threads", SIZES)]
    for name, work in works.items():
        if name.startswith("pool"):
            parts += [f"### Reactor: {work['title']}\n", markdown(_table(work, "threads"))]
    return "\n".join(parts)


def _rounds(works: Works) -> str:
    numbers = [len(found["rate"]) for work in works.values() for found in work["rounds"].values()]
    least, most = min(numbers), max(numbers)
    return str(most) if least == most else f"{least} to {most}"


def _table(work: Mapping[str, Any], what: str) -> list[list[str]]:
    figures = [name for name in _HEADINGS if medians(work["rounds"], name)]
    if what == "threads":
        figures = [name for name in figures if name != "threads"]
    columns = {name: medians(work["rounds"], name) for name in figures}
    rows = [[what, *(_HEADINGS[name] for name in figures)]]
    order = work["rounds"]
    if what == "model":
        order = sorted(order, key=lambda name: -columns["rate"].get(name, 0))
    cells = {model: [shown(columns[name].get(model, 0)) for name in figures] for model in order}
    return rows + [[model, *told] for model, told in cells.items()]


def _calls(works: Works) -> list[str]:
    """Return which system calls each model makes for a page, the commonest first."""
    rounds = works.get("small-64", {}).get("rounds", {})
    rows = [["model", "system calls for each page of 1 KB, 64 connections"]]
    for model, found in rounds.items():
        calls = {name[5:]: value[0] for name, value in found.items() if name.startswith("call ")}
        told = [f"{name} {calls[name]:.2f}" for name in sorted(calls, key=lambda one: -calls[one])]
        if told:
            rows.append([model, ", ".join(one for one in told if not one.endswith(" 0.00"))])
    if len(rows) == 1:
        return ["System calls were not counted: strace is not installed, or not permitted.\n"]
    return ["## System calls\n", markdown(rows, "---")]


def _draw(works: Works, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shown_works = {name: work for name, work in works.items() if not name.startswith("pool")}
    _dots(shown_works, "rate", "Pages per second", folder / RATES)
    _dots(shown_works, "us", "Processor time per page, µs", folder / COSTS)
    _sizes(works, folder / SIZES)


def _dots(works: Works, figure: str, title: str, path: Path) -> None:
    models = list(next(iter(works.values()))["rounds"])
    high = 0.9 + 0.24 * len(models)
    drawing, axes = plt.subplots(2, 3, figsize=(12, 2 * high), sharey=True, layout="constrained")
    for panel, work in zip(axes.flat, works.values(), strict=False):
        found = medians(work["rounds"], figure)
        for place, model in enumerate(reversed(models)):
            if model in found:
                color = OURS if model.startswith("simulated-proactor") else OTHER
                panel.plot(found[model], place, "o", color=color, markersize=7)
                panel.annotate(
                    shown(found[model]),
                    (found[model], place),
                    xytext=(7, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8,
                )
        panel.set_yticks(range(len(models)), list(reversed(models)))
        panel.set_xscale("log")
        panel.margins(x=0.3)
        panel.minorticks_off()
        panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
        panel.set_title(work["title"], fontsize=9)
    drawing.suptitle(title, x=0.01, ha="left", fontweight="bold")
    drawing.savefig(path, format="svg", metadata={"Date": None})
    plt.close(drawing)


def _sizes(works: Works, path: Path) -> None:
    pools = {name: work for name, work in works.items() if name.startswith("pool")}
    if not pools:
        return
    drawing, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    for (name, work), (color, mark) in zip(
        pools.items(), ((OTHER, "s"), (OURS, "o")), strict=False
    ):
        found = medians(work["rounds"], "rate")
        label = "the disk takes 50 ms" if name == "pool-slow" else "from the page cache"
        sizes = [int(threads) for threads in found]
        axes.plot(sizes, list(found.values()), color=color, marker=mark, label=label)
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
