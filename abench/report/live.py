"""What a terminal shows while a run is under way."""

import time
from collections import deque
from collections.abc import Iterable
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from abench.plan import Plan
from abench.report.units import count, decimal, duration, microseconds, plural
from abench.summary import Summary

REFRESH_S = 0.2
SECONDS_SHOWN = 12  # what a terminal of 80 columns has room for, twice

_BARS = "▁▂▃▄▅▆▇█"


class LiveView:
    """A progress bar with the present rate, kept up to date by calling it, gone at the end.

    It has no thread of its own, so that a process may fork while it is shown.
    """

    def __init__(self, plan: Plan, stream: TextIO) -> None:
        self._plan = plan
        self._shown = time.monotonic()
        self._succeeded = 0
        self._complete = 0  # seconds of the series that are in the trends
        self._rates: deque[int] = deque(maxlen=SECONDS_SHOWN)
        self._p99s: deque[int] = deque(maxlen=SECONDS_SHOWN)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),  # a line to the edge would be broken by the echo of Ctrl-C
            TextColumn("{task.fields[figures]}"),
            console=Console(file=stream),
            auto_refresh=False,
            transient=True,
        )
        self._task = self._progress.add_task("opening", total=None, figures="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, summary: Summary, elapsed_s: float) -> None:
        """Show `summary` as of `elapsed_s` after the start, if the last picture is old enough."""
        now = time.monotonic()
        if now - self._shown < REFRESH_S:
            return
        if elapsed_s:
            self._show_load(summary, elapsed_s, now)
        elif summary.standing == self._plan.connections and self._plan.warms_up:
            self._progress.update(self._task, description="warming up", figures="", refresh=True)
        else:
            self._show_opening()
        self._shown, self._succeeded = now, summary.succeeded

    def _show_opening(self) -> None:
        figures = plural(self._plan.connections, "connection")
        self._progress.update(self._task, figures=figures, refresh=True)

    def _show_load(self, summary: Summary, elapsed_s: float, now: float) -> None:
        rate = (summary.succeeded - self._succeeded) / (now - self._shown)
        figures = f"{decimal(rate)} pages/sec {self._trends(summary)}"
        if summary.failed:
            figures += f"  [red]{count(summary.failed)} failed[/]"
        if self._plan.requests:
            done, total = summary.succeeded + summary.failed, self._plan.requests
            self._progress.update(self._task, completed=done, total=total)
            description = f"{count(done)} of {count(total)}"
        else:
            length = self._plan.duration_s or 0.0
            self._progress.update(self._task, completed=elapsed_s, total=length)
            description = f"{duration(int(min(elapsed_s, length)))} of {duration(length)}"
        self._progress.update(self._task, description=description, figures=figures, refresh=True)

    def _trends(self, summary: Summary) -> str:
        """Return the last seconds' rates, and their p99, as bars of a line of text."""
        moments = summary.series.moments
        for at_s in sorted(moments)[self._complete : -1]:  # the last is not over
            moment = moments[at_s]
            self._rates.append(moment.succeeded)
            self._p99s.append(moment.service.percentiles([99.0])[99.0] or 0)
            self._complete += 1
        if not self._rates:
            return ""
        p99 = microseconds(self._p99s[-1])
        return f"{sparkline(self._rates)}  p99 {p99} {sparkline(self._p99s)}"


def sparkline(values: Iterable[float]) -> str:
    """Return a bar for each value, from nothing to the highest of them."""
    values = list(values)
    top = max(values, default=0) or 1
    return "".join(_BARS[min(len(_BARS) - 1, int(value / top * len(_BARS)))] for value in values)
