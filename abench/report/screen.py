"""A run on the whole terminal, with keys: `abench --tui`."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from copy import deepcopy
from typing import Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from abench.plan.plan import Plan
from abench.report.advance import advance
from abench.report.recent_seconds import RecentSeconds
from abench.report.screen_frame import Picture, frame
from abench.report.terminal_keys import Keyboard
from abench.stats.histogram import Histogram
from abench.stats.results import Results
from abench.stats.summary import Summary

REFRESH_S = 0.5  # a picture takes 10 ms of 120 columns and 40 lines; keys are shown at once
REPORT_REFRESH_S = 1.0  # of the figures that all counts are walked through for
# A verdict needs more than the delay of a report: from now on only silences of a second count.
JUDGED_FROM_S = 4.0
MAX_SECONDS = 600  # in a chart: more than a terminal has columns

KEYS = "q stop and report   p hold this picture"
HELD = "p show the run again   q stop and report   held: the run goes on"
STOPPING = "stopping   Ctrl-C ends it without a report"

ResultsSoFar = Callable[[Summary, float], Results]


class Screen:
    """A full-screen view of a run; call it to update it. The terminal is restored at the end.

    The screen is taken over by the first call, so that an error before the run leaves no trace of
    it. There is no thread, so that the process can fork while it is shown: keys are read at each
    call. `results_so_far` returns the results as of a number of seconds; `stop` stops the run
    orderly, and is called once. `clock` returns seconds.
    """

    def __init__(
        self,
        plan: Plan,
        stream: TextIO,
        results_so_far: ResultsSoFar,
        stop: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan, self._results_so_far, self._stop = plan, results_so_far, stop
        self._clock = clock
        self._console = Console(file=stream, highlight=False, emoji=False)
        self._keyboard = Keyboard(stream)
        self._picture: Picture | None = None
        self._live = Live(
            console=self._console, screen=True, auto_refresh=False,
            redirect_stdout=False, redirect_stderr=False, get_renderable=self._draw,
        )  # fmt: skip
        self._opened = ExitStack()
        self._recent = RecentSeconds(plan, MAX_SECONDS)
        self._due_at = self._report_due_at = clock()
        self._is_held = self._is_stopping = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def __call__(self, summary: Summary, elapsed_s: float) -> None:
        """Act on keys, and show `summary` as of `elapsed_s` after the start."""
        self._recent.observe(summary, elapsed_s)
        if self._picture is None:
            self._take_over_terminal()
        for key in self._keyboard.pressed():
            self._on_key(key)
        now = self._clock()
        if now < self._due_at:
            return
        self._due_at = now + REFRESH_S
        if self._picture is None or not self._is_held:
            self._picture = self._take_picture(summary, elapsed_s, now)
        self._live.refresh()

    def _take_over_terminal(self) -> None:
        self._opened.enter_context(self._keyboard.opened())
        self._opened.enter_context(self._live)

    def _on_key(self, key: str) -> None:
        """Stop the run or hold the picture, and show at once that the key was understood."""
        if key in "pP":
            self._is_held = not self._is_held
        elif key in "qQ" and not self._is_stopping:
            self._is_stopping, self._is_held = True, False
            self._stop()
        self._due_at = self._clock()

    def _take_picture(self, summary: Summary, elapsed_s: float, now: float) -> Picture:
        before = self._picture
        report, latencies = (before.report, before.latencies) if before else (None, Histogram())
        if elapsed_s and (report is None or now >= self._report_due_at):
            self._report_due_at = now + REPORT_REFRESH_S
            report = self._results_so_far(summary, elapsed_s)
            latencies = deepcopy(self._recent.latencies(summary))  # of the same moment
        return Picture(
            plan=self._plan,
            advance=advance(self._plan, summary, elapsed_s),
            recent=self._recent,
            latencies=latencies,
            report=report,
            is_judged=elapsed_s >= JUDGED_FROM_S,
            ascii_only=self._console.options.ascii_only,
        )

    def _draw(self) -> Text:
        """Return the picture for the current size of the terminal."""
        if self._picture is None:
            return Text()
        keys = STOPPING if self._is_stopping else HELD if self._is_held else KEYS
        lines = frame(self._picture, keys, *self._console.size)
        return Text("\n", no_wrap=True, overflow="crop", end="").join(lines)
