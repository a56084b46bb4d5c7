"""The progress of a run, shown on a terminal."""

import time
from collections.abc import Callable
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from abench.plan.plan import Plan
from abench.report.advance import advance
from abench.report.bars import sparkline
from abench.report.recent_seconds import RecentSeconds
from abench.stats.summary import Summary
from abench.stats.units import count, decimal, microseconds

REFRESH_S = 0.2
MAX_SECONDS = 20  # in a sparkline
MIN_SECONDS = 3
RIGHT_MARGIN = 3  # columns, left free so that the echo of Ctrl-C does not wrap the line
MIN_BAR_WIDTH = 60  # columns: a narrower terminal shows no bar
MAX_BAR_WIDTH = 30


class LiveView:
    """A progress bar with the current rate; call it to update it. It is removed at the end.

    It has no thread of its own, so that the process can fork while it is shown. `clock` returns
    seconds.
    """

    def __init__(
        self, plan: Plan, stream: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._plan = plan
        self._clock = clock
        self._updated_at = clock()
        self._succeeded = 0
        self._recent = RecentSeconds(plan, MAX_SECONDS)
        self._bar = BarColumn()
        self._progress = Progress(console=Console(file=stream), auto_refresh=False, transient=True)
        self._task = self._progress.add_task("connecting", total=None, figures="")
        self._lay_out(self._usual_bar_width)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, summary: Summary, elapsed_s: float) -> None:
        """Show `summary` as of `elapsed_s` after the start, at most every REFRESH_S."""
        self._recent.observe(summary, elapsed_s)
        now = self._clock()
        if now - self._updated_at < REFRESH_S:
            return
        if elapsed_s:
            self._show_load(summary, elapsed_s, now - self._updated_at)
        else:
            self._show_phase(summary)
        self._updated_at, self._succeeded = now, summary.succeeded

    @property
    def _usual_bar_width(self) -> int:
        """The usual width of the bar in columns; the terminal may be resized."""
        width = self._progress.console.width
        return min(MAX_BAR_WIDTH, width // 5) if width >= MIN_BAR_WIDTH else 0

    def _lay_out(self, bar_width: int) -> None:
        """Lay out the line: description, a bar of `bar_width` columns if not 0, figures."""
        self._bar.bar_width = bar_width
        bars = (self._bar,) if bar_width else ()
        texts = (TextColumn("{task.description}"), TextColumn("{task.fields[figures]}"))
        self._progress.columns = (texts[0], *bars, texts[1])

    def _show_phase(self, summary: Summary) -> None:
        phase = advance(self._plan, summary, 0.0).text
        self._progress.update(self._task, description=phase, refresh=True)

    def _show_load(self, summary: Summary, elapsed_s: float, since_s: float) -> None:
        rate = decimal((summary.succeeded - self._succeeded) / since_s) if since_s else "-"
        now = advance(self._plan, summary, elapsed_s)
        self._progress.update(self._task, completed=now.done, total=now.total)
        done = now.text
        failed = f"  {count(summary.failed)} failed" if summary.failed else ""
        bar_width = self._usual_bar_width
        forms = [(done, bar_width, f"{rate} pages/sec", failed)] if bar_width else []
        forms += [(done, 0, f"{rate}/sec", failed), ("", 0, f"{rate}/sec", failed)]
        forms += [("", 0, f"{rate}/sec", "")]
        room = self._progress.console.width - RIGHT_MARGIN
        form = next((form for form in forms if _width(*form) <= room), forms[-1])
        done, bar_width, rate, failed = form
        figures = f"{rate}[red]{failed}[/]{self._sparklines(room - _width(*form))}"
        self._lay_out(bar_width)
        self._progress.update(self._task, description=done, figures=figures, refresh=True)

    def _sparklines(self, room: int) -> str:
        """Return sparklines of the last rates and p99 values that fit into `room` columns."""
        if not self._recent.points:
            return ""
        found = self._recent.percentile("p99")
        p99 = f"  p99 {microseconds(found[-1])}"
        shown = min(MAX_SECONDS, (room - len(p99) - 2) // 2)
        if shown < MIN_SECONDS or self._progress.console.options.ascii_only:
            return p99 if len(p99) <= room else ""
        rates = sparkline(self._recent.rates()[-shown:])
        return f" {rates}{p99} {sparkline([us or 0 for us in found[-shown:]])}"


def _width(done: str, bar_width: int, rate: str, failed: str) -> int:
    """Return the width of a line in columns; its parts are one column apart."""
    return len(done) + (1 + bar_width if bar_width else 0) + 1 + len(rate) + len(failed)
