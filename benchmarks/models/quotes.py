"""Figures that other pages quote: each stands before a comment that says which one it is.

`7,443<!-- small-64 | epoll | rate -->`: row, contender, figure. The same comments stand in each
language, so that the figures are the same, and none is older than its result.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from benchmarks.figures import medians, shown
from benchmarks.models.tables import NOT_MEASURED
from benchmarks.results import Result

PAGES = (Path("docs/io-models.md"), Path("docs/io-models.zh.md"))
_QUOTE = re.compile(
    rf"(?:[\d,]+(?:\.\d+)?|{NOT_MEASURED})(?P<comment><!-- (?P<key>[^|>]+ \| [^|>]+ \| [^|>]+) -->)"
)


def update(root: Path, found: Mapping[str, Result]) -> None:
    """Write the figures anew into the pages beneath a directory, as far as these are there."""
    for page in PAGES:
        if (root / page).exists():
            text = (root / page).read_text(encoding="utf-8")
            (root / page).write_text(updated(text, found), encoding="utf-8")


def updated(text: str, found: Mapping[str, Result]) -> str:
    """Return a text with every quoted figure as it was measured last."""
    return _QUOTE.sub(lambda one: figure(one["key"], found) + one["comment"], text)


def quoted(text: str) -> list[str]:
    """Return which figures a text quotes."""
    return [one["key"] for one in _QUOTE.finditer(text)]


def figure(key: str, found: Mapping[str, Result]) -> str:
    """Return a figure, given its row, contender and name; NOT_MEASURED if there is none."""
    work, name, figure = key.split(" | ")
    result = found.get(work)
    value = medians(result.rounds, figure).get(name) if result else None
    return NOT_MEASURED if value is None else shown(value)
