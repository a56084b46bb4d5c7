"""How a run is shown while it goes on: a bar, the whole terminal, lines, or not at all."""

import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

from abench.cli.options import REPORTS, declare
from abench.cli.streams import print_message
from abench.errors import ParameterError
from abench.plan import quantities
from abench.runner.coordinator import Watcher
from abench.runner.measure import Measurement
from abench.runner.signals import exit_on_signal
from abench.stats.parts import Threshold
from abench.stats.results import Results
from abench.stats.summary import Summary
from abench.stats.units import duration

MIN_INTERVAL_S = 1.0  # of lines; the figures of less time than this are noise

Tui = Annotated[bool, declare(REPORTS, "--tui", text="Show the run on the whole terminal.")]
Progress = Annotated[
    float | None,
    declare(
        REPORTS,
        "--progress",
        value="SECONDS",
        text="Print a line this often: 5s.",
        parse=quantities.parse_seconds,
    ),
]


@dataclass(frozen=True, slots=True)
class View:
    """How to show a run; by default as a bar, where standard error is a terminal.

    `evaluate` returns the conditions of a gate, with whether they are true so far.
    """

    is_quiet: bool = False
    is_full_screen: bool = False
    interval_s: float | None = None
    evaluate: Callable[[Results], tuple[Threshold, ...]] = lambda _: ()

    def check(self) -> None:
        """Raise ParameterError, before the run, if it cannot be shown like this."""
        if self.is_full_screen:
            self._check_screen()
        if self.interval_s is None:
            return
        if self.is_quiet:
            raise ParameterError("--progress", "--quiet shows nothing of a run: give one of them")
        if not MIN_INTERVAL_S <= self.interval_s < math.inf:
            raise ParameterError("--progress", f"must be {duration(MIN_INTERVAL_S)} or more")

    def _check_screen(self) -> None:
        if self.is_quiet:
            raise ParameterError("--tui", "--quiet shows nothing of a run: give one of them")
        if self.interval_s is not None:
            raise ParameterError("--tui", "--progress prints lines: give one of them")
        if not sys.stderr.isatty():
            raise ParameterError(
                "--tui", "standard error is not a terminal; --progress 5s prints lines"
            )
        if os.environ.get("TERM", "dumb") in {"dumb", "unknown"}:
            raise ParameterError(
                "--tui", "TERM names no terminal that has a cursor; --progress 5s prints lines"
            )

    @contextmanager
    def shown(self, measurement: Measurement) -> Iterator[Watcher | None]:
        """Show a run until the block ends, by the watcher that it gets."""
        plan = measurement.plan
        if self.is_full_screen:
            from abench.report.screen import Screen

            results_so_far = partial(self._results_so_far, measurement)
            with exit_on_signal(), Screen(plan, sys.stderr, results_so_far, _interrupt) as screen:
                yield screen
        elif self.interval_s is not None:
            from abench.report.progress_lines import ProgressLines

            yield ProgressLines(plan, self.interval_s, print_message)
        elif self.is_quiet or not sys.stderr.isatty():
            yield None
        else:
            from abench.report.live import LiveView

            with LiveView(plan, sys.stderr) as bar:
                yield bar

    def _results_so_far(
        self, measurement: Measurement, summary: Summary, elapsed_s: float
    ) -> Results:
        report = measurement.results_so_far(summary, elapsed_s)
        return replace(report, thresholds=self.evaluate(report))


def _interrupt() -> None:
    """Stop the run as Ctrl-C does."""
    signal.raise_signal(signal.SIGINT)
