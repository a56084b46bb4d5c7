"""What lets the plots of the page answer to a pointer: data, a library and a script, inlined.

The drawn plots stay in the page: they are what a browser without scripts shows, and what it prints.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from abench.report import curves
from abench.report.curves import Curve
from abench.stats.latency import latencies_with_waits
from abench.stats.results import Results

_FOLDER = Path(__file__).parent
_LIBRARY, _SCRIPT = _FOLDER / "uplot/uPlot.iife.min.js", _FOLDER / "page.js"
_STYLES = _FOLDER / "uplot/uPlot.min.css", _FOLDER / "page.css"
_POINTS = 300  # of a curve over percentiles: more than a screen shows apart


class Scripts(NamedTuple):
    """What a page needs, as HTML: for its head, and for the end of its body."""

    policy: str  # the source list of script-src
    style: str
    body: str


NO_SCRIPTS = Scripts("'none'", "", "")


class Plot(NamedTuple):
    """One plot as data: `x` is seconds, or `1 / (1 - share)` of the responses as fast or faster."""

    x: Sequence[float]
    over_time: bool
    unit: str  # "rate" or "us"
    curves: Sequence[Curve]


def plots(report: Results) -> list[Plot | None]:
    """Return the plots of a report in the order of the page; None for one that is only drawn."""
    at = curves.moments(report)
    over_time = [
        Plot(at, over_time=True, unit="rate", curves=curves.rates(report)),
        Plot(at, over_time=True, unit="us", curves=curves.latencies(report)),
    ]
    found = [*(over_time if at else ()), _spectrum(report)]
    return [plot if plot and _has_values(plot) else None for plot in found]


def _has_values(plot: Plot) -> bool:
    return any(value is not None for curve in plot.curves for value in curve.values)


def _spectrum(report: Results) -> Plot | None:
    """Return the percentiles of the whole run, closer together the rarer the responses are."""
    found = {"service": latencies_with_waits(report.summary, "service")}
    if report.response:
        found["response"] = latencies_with_waits(report.summary, "response")
    most = max(histogram.count for histogram in found.values())
    if not most:
        return None
    x = [most ** (number / _POINTS) for number in range(_POINTS + 1)]
    percents = [100 * (1 - 1 / rarity) for rarity in x[:-1]] + [100.0]
    styles = {"service": ("--first", "-"), "response": ("--second", "--")}
    drawn = []
    for name, histogram in found.items():
        values = histogram.percentiles(percents)
        drawn.append(Curve(name, *styles[name], [values[percent] for percent in percents]))
    return Plot(x, over_time=False, unit="us", curves=drawn)


def scripts(found: Iterable[Plot | None]) -> Scripts:
    """Return what a page with these plots needs; every script is allowed by its hash alone."""
    code = [path.read_text() for path in (_LIBRARY, _SCRIPT)]
    data = json.dumps([plot and _plain(plot) for plot in found], separators=(",", ":"))
    # Data is not run. It could end its element, or begin a comment, by "<" alone.
    escaped = data.replace("<", "\\u003c")
    body = f'<script type="application/json" id="abench-plots">{escaped}</script>\n'
    body += "".join(f"<script>{text}</script>\n" for text in code)
    style = "".join(path.read_text() for path in _STYLES)
    return Scripts(" ".join(map(_hash, code)), style, body)


def _plain(plot: Plot) -> dict[str, Any]:
    return {
        **plot._asdict(),
        "x": _rounded(plot.x),
        "curves": [{**curve._asdict(), "values": _rounded(curve.values)} for curve in plot.curves],
    }


def _rounded(values: curves.Values) -> list[float | None]:
    """Return the values with six digits, of which a screen shows three."""
    return [None if value is None else float(f"{value:.6g}") for value in values]


@cache
def _hash(text: str) -> str:
    """Return the source expression of an inline script (Content Security Policy 3, 2.3.1)."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
