"""Write docs/models.md and its plots from the results, without measuring."""

from pathlib import Path

from benchmarks import results
from benchmarks.figures import medians
from benchmarks.models import quotes, slow_disk
from benchmarks.models.contenders import POOLS
from benchmarks.models.tables import contenders_of, notes, table
from benchmarks.models.works import WORKS
from benchmarks.page import picture
from benchmarks.results import Result
from benchmarks.rounds import grouped
from benchmarks.tables import markdown

FOLDER = Path("benchmarks/results-models")
PAGE = Path("docs/models.md")
IMAGES = Path("docs/images")
RATES, COSTS, SIZES = "models-rate.svg", "models-cost.svg", "models-pool.svg"

_ABOUT = """\
# Every I/O model, measured

<!-- Written by: python -m benchmarks.models --render, from benchmarks/results-models. -->

The same HTTP, the same site and the same load for each model of `aserve --model`: one core for the
server, one for wrk. [io-models.md](io-models.md) explains the models, and `make models` repeats all
of it.

- Contenders are loaded in turns, round after round, and stopped (SIGSTOP) while others are. Tables
  show the median, and in parentheses the lowest and the highest round.
- Compare figures within one table: each was measured at a time of its own, and a machine that is
  shared is not equally fast at every moment.
- The default model is there twice: with its response cache, and without it, like the others.
  *by the book*: with `--by-the-book`.
- A failed request is one with an error status, or one whose connection failed. It is no page, but
  the processor time for it is part of that of the pages.
- What was not measured is shown as —, with the reason below the table.
"""

Found = dict[str, Result]


def write(root: Path) -> None:
    """Write the page, its plots, and the figures that other pages quote, beneath a directory."""
    from benchmarks.models import plots  # noqa: PLC0415 - matplotlib takes a second

    found = results.read(root / FOLDER, WORKS)
    drawn = plots.draw(found, root / IMAGES)
    (root / PAGE).parent.mkdir(parents=True, exist_ok=True)
    (root / PAGE).write_text(page(found, drawn))
    quotes.update(root, found)


def page(found: Found, drawn: list[str]) -> str:
    """Return the page."""
    pictures = [picture(text, name) for name, text in _PICTURES.items() if name in drawn]
    by_model = [_section(name, found.get(name)) for name in WORKS if not _is_pool(name)]
    by_size = [_section(name, found.get(name)) for name in WORKS if _is_pool(name)]
    sizes = [picture("Pages per second by threads", SIZES)] if SIZES in drawn else []
    parts = [_ABOUT, *pictures, *by_model, "## How many threads\n", *sizes, *by_size]
    return "\n".join((*parts, _conditions(found)))


_PICTURES = {RATES: "Pages per second by model", COSTS: "Processor time per page by model"}


def _is_pool(name: str) -> bool:
    return WORKS[name].servers == POOLS


def _section(name: str, result: Result | None) -> str:
    """Return what was found for a row: heading, note, tables, and what is missing."""
    work = WORKS[name]
    heading = f"### Reactor: {work.title}" if _is_pool(name) else f"## {work.title}"
    parts = [heading, "", *([work.note, ""] if work.note else [])]
    if result is None:
        parts.append(_MISSING)
    else:
        parts += [*_tables(result), *(f"- {note}" for note in notes(result))]
    return "\n".join(parts).rstrip() + "\n"


_MISSING = "Not measured yet."


def _tables(result: Result) -> list[str]:
    if _is_pool(result.work):
        return [markdown(table(result, "threads", without=("threads",)))]
    if result.work == "calls":
        return [markdown(_calls(result), "---")]
    if result.work == "slow-64":
        return [markdown(table(result)), _SLOW, markdown(slow_disk.rows(result), "---")]
    return [markdown(table(result))]


_SLOW = """\
Only the wait for the file counts here, and how many of them go on at once follows from the model:
"""


def _calls(result: Result) -> list[list[str]]:
    """Return which system calls each contender makes for a page, the commonest first."""
    rows = [["model", "in all", "each"]]
    for model in contenders_of(result):
        found = result.rounds.get(model, {})
        calls = {name[5:]: value[0] for name, value in found.items() if name.startswith("call ")}
        if calls:
            told = [f"{name} {calls[name]:.2f}" for name in sorted(calls, key=calls.__getitem__)]
            each = ", ".join(one for one in reversed(told) if not one.endswith(" 0.00"))
            rows.append([model, f"{medians({model: found}, 'calls')[model]:.1f}", each])
    return rows


def _conditions(found: Found) -> str:
    parts = ["## When and where\n"]
    for (machine, versions), there in grouped(found.values(), "machine", "versions"):
        named = ", ".join(f"{name} {version}" for name, version in versions.items())
        parts.append(f"{machine}. {named}.\n")
        rows = [["row", "measured", "aserve at", "rounds"]]
        for result in there:
            told = result.conditions
            rounds = f"{told['rounds']} of {told['seconds']} s"
            rows.append([result.title, told["date"], f"`{told['revision']}`", rounds])
        parts.append(markdown(rows, "---"))
    return "\n".join(parts)
