"""The curves of a search for a server's capacity: what was achieved, and how long it took."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator

from abench.report.answer import Plot
from abench.report.capacity_text import rounded
from abench.report.plots import (
    BAD,
    BROAD,
    FIRST,
    INK,
    NARROW,
    QUIET,
    SECOND,
    THIRD,
    TIGHT,
    draw_svg,
    format_time_axis,
)
from abench.stats.capacity import Capacity, Step


def plots(found: Capacity) -> list[Plot]:
    """Return the plots of a search; none without steps."""
    if not found.steps:
        return []
    drawn: tuple[tuple[str, str, Callable[[Capacity, Axes], None]], ...] = (
        ("Offered and achieved rate", _rates_caption(found), _rates),
        ("Response times by rate", _times_caption(found), _times),
    )
    return [
        (title, caption, draw_svg(draw, found, *BROAD), draw_svg(draw, found, *NARROW))
        for title, caption, draw in drawn
    ]


def _rates(found: Capacity, axes: Axes) -> None:
    offered = [step.offered for step in found.steps]
    ends = [0.8 * min(offered), 1.25 * max(offered)]
    axes.plot(ends, ends, "-", color=QUIET, linewidth=1, alpha=0.7)
    for label, color, mark, steps in (
        ("held", FIRST, "o", [step for step in found.steps if step.held]),
        ("not held", BAD, "x", [step for step in found.steps if not step.held]),
    ):
        if steps:
            at, achieved = _columns(steps, lambda step: step.achieved)
            axes.plot(at, achieved, mark, color=color, label=label)
    if found.client_per_sec:
        axes.axhline(found.client_per_sec, linestyle=":", color=THIRD, label="client")
    _draw_landmarks(found, axes)
    axes.set_yscale("log")
    _set_rate_axis(axes, found)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_minor_formatter("")
    axes.set_ylabel("requests/s achieved")
    add_legend(axes)


def _times(found: Capacity, axes: Axes) -> None:
    by_rate = sorted(found.steps, key=lambda step: step.offered)
    for label, color, style, get in (
        ("p50", FIRST, ".-", lambda step: step.p50_us),
        ("p99", SECOND, ".--", lambda step: step.p99_us),
    ):
        axes.plot(*_columns(by_rate, get), style, color=color, label=label, linewidth=1)
    _draw_landmarks(found, axes)
    axes.set_yscale("log")
    _set_rate_axis(axes, found)
    axes.yaxis.set_major_locator(LogLocator(subs=(1,)))
    format_time_axis(axes)
    add_legend(axes)


def _columns(
    steps: Sequence[Step], get: Callable[[Step], float | None]
) -> tuple[list[float], list[float]]:
    """Return the rates of steps and a value of each, without those that have none."""
    known = [(step.offered, value) for step in steps if (value := get(step)) is not None]
    return [at for at, _ in known], [value for _, value in known]


def _draw_landmarks(found: Capacity, axes: Axes) -> None:
    """Draw the interval of the capacity, the knee, and the client's own ceiling."""
    if found.is_known and found.interval:
        low, middle, high = found.interval
        axes.axvspan(low, high, color=FIRST, alpha=0.15, linewidth=0)
        axes.axvline(middle, color=FIRST, linewidth=1, label="capacity")
    if found.knee:
        axes.axvline(found.knee.offered, color=INK, linestyle="-.", linewidth=1, label="knee")
    if found.client_per_sec:
        axes.axvline(found.client_per_sec, color=THIRD, linestyle=":")


def _set_rate_axis(axes: Axes, found: Capacity) -> None:
    offered = [step.offered for step in found.steps]
    axes.set_xscale("log")
    axes.set_xlim(0.8 * min(offered), 1.25 * max(*offered, found.client_per_sec or 0))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("requests/s offered")


def add_legend(axes: Axes) -> None:
    """Add a legend of two lines at the top of a plot with logarithmic scale."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.3)  # space for two lines of it
    axes.legend(ncols=3, loc="upper left", **TIGHT)


def _rates_caption(found: Capacity) -> str:
    text = "Requests per second, due and started, of each step, on logarithmic scales"
    if found.client_per_sec:
        text += f"; dotted: this client's own ceiling, {rounded(found.client_per_sec)}/s"
    return f"{text}."


def _times_caption(found: Capacity) -> str:
    text = "Response times of the successes of each step, on logarithmic scales"
    return f"{text}; shaded: the interval of the capacity." if found.is_known else f"{text}."
