"""Trends as a page with plots, or as one image: by matplotlib, as the report is."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import TextIO

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from abench.report.html import format_page, format_plot
from abench.report.plots import BAD, BROAD, FIRST, GOOD, NARROW, QUIET, draw_svg
from abench.report.svg import write_plots
from abench.report.trend_text import (
    describe_change,
    describe_label,
    describe_nothing,
    describe_runs,
    show_value,
)
from abench.stats.comparison import MORE_IS_BETTER, RATE
from abench.stats.trend import Metric, Trend
from abench.stats.units import signed

TITLE = "Trend"


def write_html(trends: Sequence[Trend], stream: TextIO) -> None:
    """Write a page to `stream`."""
    parts = [part for number, trend in enumerate(trends) for part in _section(trend, number)]
    body = f"<header><h1>{TITLE}</h1></header>\n<main>\n{''.join(parts)}</main>"
    stream.write(format_page(TITLE, body))


def write_svg(trends: Sequence[Trend], stream: TextIO) -> None:
    """Write all plots as one image to `stream`."""
    drawn = [
        (f"{describe_runs(trend)}: {metric.name}", _draw(metric, f"{number}", BROAD))
        for number, trend in enumerate(trends)
        for metric in trend.metrics
    ]
    write_plots(drawn, stream)


def _section(trend: Trend, number: int) -> Iterator[str]:
    yield f"<section><h2>{escape(describe_runs(trend))}</h2>"
    if trend.label:
        yield f'<p class="quiet">{escape(describe_label(trend))}</p>'
    yield from _changes(trend)
    yield '<div class="plots">'
    for metric in trend.metrics:
        svgs = {
            name: _draw(metric, f"{number}-{name}", form)
            for name, form in (("broad", BROAD), ("narrow", NARROW))
        }
        yield format_plot(metric.name, _caption(metric), svgs)
    yield "</div></section>"


def _changes(trend: Trend) -> Iterator[str]:
    if not trend.changes:
        yield f"<p>{escape(describe_nothing(trend))}</p>"
        return
    yield "<ul>"
    for change in trend.changes:
        kind = "failed" if change.worse_by > 0 else "passed"
        also = "".join(
            f'<br><span class="remark">{escape(f"{name} as well: {before} -> {after}")}</span>'
            for name, (before, after) in change.circumstances.items()
        )
        yield f'<li><span class="{kind}">{escape(describe_change(change, trend))}</span>{also}</li>'
    yield "</ul>"


def _caption(metric: Metric) -> str:
    last = metric.levels[-1][2]
    level = f"The level is {show_value(metric.name, last)}"
    if len(metric.levels) == 1:
        return f"{level}, unchanged over {len(metric.values)} runs."
    before = metric.levels[-2][2]
    percent = signed(100 * (last / before - 1)) if before else "-"
    return f"{level}, {percent} % since run {metric.levels[-1][0] + 1}."


Form = tuple[str, tuple[float, float], int]


def _draw(metric: Metric, salt: str, form: Form) -> str:
    name, size, font_size = form
    return draw_svg(_plot, metric, f"{name}-{salt}-{metric.name}", size, font_size)


def _plot(metric: Metric, axes: Axes) -> None:
    """Draw the values of the runs, and the levels that they have had."""
    axes.plot(range(1, len(metric.values) + 1), metric.values, ".", color=QUIET)
    previous = None
    for begin, end, mean in metric.levels:
        colour = FIRST
        if previous is not None:
            is_better = (mean > previous) == MORE_IS_BETTER[metric.name]
            colour = GOOD if is_better else BAD
            axes.axvline(begin + 0.5, color=colour, linestyle=":")
        axes.plot([begin + 0.5, end + 0.5], [mean, mean], "-", color=colour)
        previous = mean
    axes.set_xlabel("run")
    axes.set_xlim(0.5, len(metric.values) + 0.5)
    axes.set_ylim(0, 1.15 * max(metric.values) or 1)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(metric.name, value)))
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _tick(name: str, value: float) -> str:
    return f"{value:,g}" if name == RATE else show_value(name, value)
