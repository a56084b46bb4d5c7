"""The counts of a run over time, in a bounded number of intervals."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from abench.stats import counts
from abench.stats.intervals import Interval, PackedIntervals

MAX_INTERVALS = 600  # then pairs are merged: a day takes as much memory as ten minutes


@dataclass
class TimeSeries:
    """Intervals of `step_s` seconds, keyed by the second of the run at which they begin.

    Intervals without counts are left out, although the run was going on in them.
    """

    step_s: int = 1
    intervals: PackedIntervals = field(default_factory=PackedIntervals)

    def add(self, at_s: int, interval: Interval) -> None:
        """Add the counts of second `at_s`."""
        self.extend_to(at_s)
        self._add(at_s, interval)

    def extend_to(self, at_s: int) -> None:
        """Make the steps long enough to cover second `at_s` with MAX_INTERVALS of them."""
        step_s = self.step_s
        while at_s >= MAX_INTERVALS * step_s:
            step_s *= 2
        if step_s > self.step_s:
            self._coarsen(step_s)

    def at(self, at_s: int) -> Interval:
        """Return the interval that begins at `at_s`; it may be empty."""
        return self.intervals.get(at_s, Interval())

    def merge(self, other: "TimeSeries") -> None:
        """Add another part of the same run. The order makes no difference."""
        if other.step_s > self.step_s:
            self._coarsen(other.step_s)
        for at_s, interval in other.intervals.items():
            self.add(at_s, interval)

    def encode(self) -> dict[str, Any]:
        """Return JSON data."""
        intervals = {at_s: counts.encode(interval) for at_s, interval in self.intervals.items()}
        return {"step_s": self.step_s, "intervals": intervals}

    @classmethod
    def decode(cls, plain: Mapping[str, Any]) -> "TimeSeries":
        """Decode the data of `encode`."""
        intervals = {
            int(at_s): counts.decode(Interval, interval)
            for at_s, interval in plain["intervals"].items()
        }
        return cls(plain["step_s"], PackedIntervals(intervals))

    def _add(self, at_s: int, interval: Interval) -> None:
        self.intervals.setdefault(at_s // self.step_s * self.step_s, Interval()).merge(interval)

    def _coarsen(self, step_s: int) -> None:
        fine, self.intervals, self.step_s = self.intervals, PackedIntervals(), step_s
        for at_s, interval in fine.items():
            self._add(at_s, interval)
