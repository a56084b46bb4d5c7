"""The curve of closed loops with more and more connections, and of the law that fits them."""

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator

from abench.report.answer import Plot
from abench.report.capacity_plots import add_legend
from abench.report.plots import BROAD, FIRST, INK, NARROW, SECOND, THIRD, draw_svg, format_time_axis
from abench.stats.scaling import Scaling

_DRAWN = 100  # points of the law's curve


def plots(found: Scaling) -> list[Plot]:
    """Return the plots of closed loops; none without any."""
    if not found.points:
        return []
    caption = "Pages per second of each closed loop, and of the law, on logarithmic scales."
    times = "Service times of the successes of each closed loop, on logarithmic scales."
    return [
        (
            "Rate by connections",
            caption,
            draw_svg(_rates, found, *BROAD),
            draw_svg(_rates, found, *NARROW),
        ),
        (
            "Service times by connections",
            times,
            draw_svg(_times, found, *BROAD),
            draw_svg(_times, found, *NARROW),
        ),
    ]


def _rates(found: Scaling, axes: Axes) -> None:
    numbers = [point.connections for point in found.points]
    rates = [point.pages_per_sec for point in found.points]
    axes.plot(numbers, rates, "o", color=FIRST, label="measured")
    if law := found.law:
        drawn = [found.most ** (step / _DRAWN) for step in range(_DRAWN + 1)]
        axes.plot(drawn, [law.rate(n) for n in drawn], "-", color=SECOND, label="law")
        if law.peak < found.most:
            axes.axvline(law.peak, color=INK, linestyle="-.", linewidth=1, label="peak")
    if found.client_per_sec:
        axes.axhline(found.client_per_sec, color=THIRD, linestyle=":", label="client")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_minor_formatter("")
    axes.set_ylabel("pages/s")
    _set_connections_axis(axes)
    add_legend(axes)


def _times(found: Scaling, axes: Axes) -> None:
    for label, color, mark, values in (
        ("p50", FIRST, "o", [(p.connections, p.p50_us) for p in found.points]),
        ("p99", SECOND, "^", [(p.connections, p.p99_us) for p in found.points]),
    ):
        known = [(n, value) for n, value in values if value is not None]
        axes.plot([n for n, _ in known], [v for _, v in known], mark, color=color, label=label)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1,)))
    format_time_axis(axes)
    _set_connections_axis(axes)
    add_legend(axes)


def _set_connections_axis(axes: Axes) -> None:
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("connections")
