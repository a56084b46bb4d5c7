"""The plots of the HTML report: SVG by matplotlib, with colours from the page's style sheet."""

import io
import itertools
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from abench.report import curves
from abench.stats.histogram import Histogram
from abench.stats.latency import latencies_with_waits
from abench.stats.results import Results
from abench.stats.units import count, microseconds

# Placeholders for variables of the style sheet, which have a value for light and for dark mode.
INK, QUIET, LINES = "#010101", "#020202", "#030303"
FIRST, SECOND, THIRD, BAD, GOOD = "#040404", "#050505", "#060606", "#070707", "#080808"
_VARIABLES = {
    INK: "--ink",
    QUIET: "--quiet",
    LINES: "--lines",
    FIRST: "--first",
    SECOND: "--second",
    THIRD: "--third",
    BAD: "--bad",
    GOOD: "--good",
}
_COLORS = {variable: placeholder for placeholder, variable in _VARIABLES.items()}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # keep text as text, so that it can be searched and copied
    "font.family": "sans-serif",
    "text.color": INK,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": QUIET,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "grid.color": LINES,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "savefig.transparent": True,
}
# Salt, inches, and font size in points. The page shows the one whose text gets 11 to 16 pixels
# high, on screens 320 pixels wide or more.
BROAD, NARROW = ("abench", (6.2, 3.1), 11), ("abench-narrow", (4.0, 2.9), 12)
_TIGHT: dict[str, float] = {
    "columnspacing": 1.0,
    "handlelength": 1.4,
    "handletextpad": 0.4,
    "borderaxespad": 0.2,
}
_PERCENTS = (0, 50, 90, 99, 99.9, 99.99, 99.999, 99.9999)
_DRAWN_SECONDS = 120  # with more, points are not marked

Draw = Callable[[Results, Axes], None]
Drawn = TypeVar("Drawn")


def plots(report: Results) -> list[tuple[str, str, str, str]]:
    """Return for each plot its title, caption, broad SVG and narrow SVG."""
    return [
        (
            title(report),
            caption(report),
            draw_svg(draw, report, *BROAD),
            draw_svg(draw, report, *NARROW),
        )
        for title, caption, draw in PLOTS
        if report.series or draw is _spectrum
    ]


def draw_svg(
    draw: Callable[[Drawn, Axes], None],
    drawn: Drawn,
    salt: str,
    size: tuple[float, float],
    font_size: int,
) -> str:
    """Draw a plot; return its element, whose colours are variables of the page.

    The salt makes its element ids unique on the page.
    """
    with mpl.rc_context({**_STYLE, "svg.hashsalt": salt, "font.size": font_size}):
        figure = Figure(figsize=size, layout="constrained")
        draw(drawn, figure.subplots())
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return _styled(stream.getvalue())


def _styled(svg: str) -> str:
    """Return the SVG element with colours and size left to the page."""
    element = svg[svg.index("<svg ") :]
    for colour, variable in _VARIABLES.items():
        element = element.replace(colour, f"var({variable})")
    tag, end, rest = element.partition(">")
    return re.sub(r' (?:width|height)="[^"]*"', "", tag) + end + rest


def _set_time_axis(report: Results, axes: Axes) -> None:
    axes.set_xlabel("seconds from the start")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlim(0, max(one.at_s + one.length_s for one in report.series) or None)


def _rates(report: Results, axes: Axes) -> None:
    _draw_over_time(report, axes, curves.rates(report))
    if len(axes.lines) > 1:
        axes.legend(ncols=3, loc="upper right", **_TIGHT)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_ylim(0, 1.25 * axes.get_ylim()[1])
    _set_time_axis(report, axes)


def _draw_over_time(report: Results, axes: Axes, drawn: Iterable[curves.Curve]) -> None:
    """Draw curves with a point for each interval; those of long runs are not marked."""
    at = curves.moments(report)
    marks = "." if len(at) <= _DRAWN_SECONDS else ""
    for curve in drawn:
        values = [math.nan if value is None else value for value in curve.values]
        broad: dict[str, Any] = {"linewidth": 4, "alpha": 0.5} if curve.is_broad else {}
        style = curve.dash if curve.is_broad else marks + curve.dash
        axes.plot(at, values, style, color=_COLORS[curve.color], label=curve.label, **broad)


def _rates_title(report: Results) -> str:
    return (
        "Pages per second, served and requested"
        if curves.has_requested_rate(report)
        else "Pages per second"
    )


def _rates_caption(report: Results) -> str:
    rates = [one.pages_per_sec for one in report.series if one.length_s > 0.5]
    text = "Successful responses per second"
    if curves.has_requested_rate(report):
        text += ", and the requested rate"
    return (
        f"{text}: from {min(rates):,.0f} to {max(rates):,.0f} responses." if rates else f"{text}."
    )


def _latencies(report: Results, axes: Axes) -> None:
    _draw_over_time(report, axes, curves.latencies(report))
    _set_time_axis(report, axes)
    if all(second.service.max is None for second in report.series):
        return  # no response came, so there is nothing for a logarithmic scale
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(top=high * (high / low) ** 0.25)  # space for the legend
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 50 else (1,)))
    _format_time_axis(axes)
    axes.legend(ncols=3, loc="upper right", **_TIGHT)


def _latencies_caption(report: Results) -> str:
    return f"{_kind(report)} of the successes of each second, on a logarithmic scale."


def _format_time_axis(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: microseconds(value)))
    axes.yaxis.set_minor_formatter("")


def _kind(report: Results) -> str:
    return "Response time" if report.response else "Service time"


def _spectrum(report: Results, axes: Axes) -> None:
    """Draw latency against rarity on a logarithmic scale: each decade has the same width."""
    curves = [("service", latencies_with_waits(report.summary, "service"), "-", FIRST)]
    if report.response:
        curves.append(("response", latencies_with_waits(report.summary, "response"), "--", SECOND))
    for label, histogram, style, colour in curves:
        if histogram.counts:
            axes.step(*_curve(histogram), style, color=colour, label=label, where="pre")
    axes.set_xscale("log")
    axes.set_xticks([_rarity(percent) for percent in _PERCENTS], [f"{one:g}" for one in _PERCENTS])
    axes.xaxis.set_minor_formatter("")
    axes.set_xlim(1, max(10.0, 1.1 * max((h.count for _, h, _, _ in curves), default=1)))
    axes.set_xlabel("% of responses as fast or faster")
    axes.set_ylim(bottom=0)
    _format_time_axis(axes)
    if len(curves) > 1 and any(histogram.counts for _, histogram, _, _ in curves):
        axes.legend(loc="best")


def _rarity(percent: float) -> float:
    return 1 / (1 - percent / 100)


def _curve(histogram: Histogram) -> tuple[list[float], list[int]]:
    """Return rarities and microseconds; the rarity of the slowest is the number of responses."""
    steps = histogram.spectrum()
    total = histogram.count
    rarities = [_rarity(percent) if percent < 100 else float(total) for percent, _, _ in steps]
    return [min(one, float(total)) for one in rarities], [us for _, us, _ in steps]


def _spectrum_caption(report: Results) -> str:
    if report.response:
        return "From when requests were sent (service), and from when they were due (response)."
    return "From when requests were sent to the last byte of their responses."


def _outcomes(report: Results, axes: Axes) -> None:
    rows = [(str(code), number, FIRST if code < 400 else BAD) for code, number in _codes(report)]
    rows += [
        (kind, number, BAD)
        for kind, number in report.failures.items()
        if _has_no_status(kind, number)
    ]
    names, numbers, colours = list(zip(*rows, strict=True)) if rows else ((), (), ())
    bars = axes.barh(names, numbers, color=colours, height=0.6)
    axes.bar_label(bars, [count(number) for number in numbers], padding=6)
    axes.invert_yaxis()
    axes.margins(x=0.25)
    axes.set_ylim(max(3.5, len(rows) - 0.5), -0.5)
    axes.set_xlabel("requests")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(visible=False, axis="y")


def _codes(report: Results) -> itertools.chain[tuple[int, int]]:
    return itertools.chain(report.status.items())


def _has_no_status(kind: str, number: int) -> bool:
    """Whether a failure occurred that no status code stands for."""
    return number > 0 and kind not in {"status", "body"}


def _outcomes_caption(report: Results) -> str:
    return f"{count(report.succeeded)} requests succeeded and {count(report.failed)} failed."


Describe = Callable[[Results], str]

PLOTS: tuple[tuple[Describe, Describe, Draw], ...] = (
    (_rates_title, _rates_caption, _rates),
    (lambda report: f"{_kind(report)} over time", _latencies_caption, _latencies),
    (lambda report: f"{_kind(report)}, every percentile", _spectrum_caption, _spectrum),
    (lambda _: "Status codes and failures", _outcomes_caption, _outcomes),
)
