"""The plots of a report as one SVG image, for documents and READMEs."""

from collections.abc import Sequence
from html import escape
from importlib import import_module
from typing import TextIO

from abench.report.style import DARK, LIGHT
from abench.stats.results import Results

WIDTH, HEIGHT = 446, 223  # of a plot, as matplotlib draws it
_TITLE_HEIGHT = 34


def write_svg(report: Results, stream: TextIO) -> None:
    """Write the plots of a report."""
    drawn = import_module("abench.report.plots").plots(report)
    write_plots([(title, broad) for title, _, broad, _ in drawn], stream)


def write_plots(drawn: Sequence[tuple[str, str]], stream: TextIO) -> None:
    """Write plots, each with its title, below each other; light or dark as the viewer wants."""
    step = HEIGHT + _TITLE_HEIGHT
    stream.write(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {step * len(drawn)}" '
        f'font-family="system-ui, sans-serif">\n<style>:root {{ {LIGHT} }}\n'
        f"@media (prefers-color-scheme: dark) {{ :root {{ {DARK} }} }}</style>\n"
        '<rect width="100%" height="100%" fill="var(--paper)"/>\n'
    )
    for number, (title, plot) in enumerate(drawn):
        top = number * step
        stream.write(
            f'<text x="12" y="{top + 22}" font-size="13" font-weight="600" fill="var(--ink)">'
            f"{escape(title)}</text>\n"
        )
        place = f'<svg y="{top + _TITLE_HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        stream.write(plot.replace("<svg ", place, 1))
    stream.write("</svg>\n")
