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
MOST_SECONDS = 20  # in a trend
LEAST_SECONDS = 3
SPARE = 3  # columns: a line to the edge would be broken by the echo of Ctrl-C
BAR_FROM = 60  # columns: what is narrower has no room for a bar
LONGEST_BAR = 30

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
        self._rates: deque[int] = deque(maxlen=MOST_SECONDS)
        self._p99s: deque[int] = deque(maxlen=MOST_SECONDS)
        console = Console(file=stream)
        self._bar = min(LONGEST_BAR, console.width // 5) if console.width >= BAR_FROM else 0
        bars = [BarColumn(bar_width=self._bar)] if self._bar else []
        self._progress = Progress(
            TextColumn("{task.description}"),
            *bars,
            TextColumn("{task.fields[figures]}"),
            console=console,
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
        if self._plan.requests:
            done, total = summary.succeeded + summary.failed, self._plan.requests
            self._progress.update(self._task, completed=done, total=total)
            description = f"{count(done)} of {count(total)}"
        else:
            length = self._plan.duration_s or 0.0
            self._progress.update(self._task, completed=elapsed_s, total=length)
            description = f"{duration(int(min(elapsed_s, length)))} of {duration(length)}"
        rate = decimal((summary.succeeded - self._succeeded) / (now - self._shown))
        rate += " pages/sec" if self._bar else "/sec"
        failed = f"  {count(summary.failed)} failed" if summary.failed else ""
        taken = len(description) + self._bar + len(rate) + len(failed) + 2
        trends = self._trends(summary, self._progress.console.width - taken - SPARE)
        figures = f"{rate}[red]{failed}[/]{trends}"
        self._progress.update(self._task, description=description, figures=figures, refresh=True)

    def _trends(self, summary: Summary, room: int) -> str:
        """Return the last seconds' rates, and their p99, as bars; as many as there is room for."""
        moments = summary.series.moments
        for at_s in sorted(moments)[self._complete : -1]:  # the last is not over
            moment = moments[at_s]
            self._rates.append(moment.succeeded)
            latencies = moment.response if self._plan.schedule else moment.service
            self._p99s.append(latencies.percentiles([99.0])[99.0] or 0)
            self._complete += 1
        if not self._rates:
            return ""
        p99 = f"  p99 {microseconds(self._p99s[-1])}"
        shown = min(MOST_SECONDS, (room - len(p99) - 2) // 2)
        if shown < LEAST_SECONDS or self._progress.console.options.ascii_only:
            return p99 if len(p99) <= room else ""
        rates, p99s = (sparkline(list(trend)[-shown:]) for trend in (self._rates, self._p99s))
        return f" {rates}{p99} {p99s}"


def sparkline(values: Iterable[float]) -> str:
    """Return a bar for each value, from nothing to the highest of them."""
    values = list(values)
    top = max(values, default=0) or 1
    return "".join(_BARS[min(len(_BARS) - 1, int(value / top * len(_BARS)))] for value in values)
