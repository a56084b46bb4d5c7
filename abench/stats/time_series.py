"""What was counted second by second, for as long as a run may last."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from abench.stats.histogram import Histogram
from abench.stats.intervals import Interval, PackedIntervals

MAX_INTERVALS = 600  # then two become one: a day's run takes as much memory as ten minutes


@dataclass
class TimeSeries:
    """Moments of `step_s` seconds each, by the second from the start at which they begin.

    Steps in which nothing was counted are left out; there was a run in them all the same.
    """

    step_s: int = 1
    intervals: PackedIntervals = field(default_factory=PackedIntervals)

    def add(self, at_s: int, moment: Interval) -> None:
        """Count what was counted at a second."""
        self.extend_to(at_s)
        self._add(at_s, moment)

    def extend_to(self, at_s: int) -> None:
        """Have steps so long that a run which gets to a second is told in MOST_MOMENTS of them."""
        step_s = self.step_s
        while at_s >= MAX_INTERVALS * step_s:
            step_s *= 2
        if step_s > self.step_s:
            self._coarsen(step_s)

    def at(self, at_s: int) -> Interval:
        """Return what was counted in the step that begins at a second, which may be nothing."""
        return self.intervals.get(at_s, Interval())

    def merge(self, other: "TimeSeries") -> None:
        """Count another part of the same run. The order makes no difference."""
        if other.step_s > self.step_s:
            self._coarsen(other.step_s)
        for at_s, moment in other.intervals.items():
            self.add(at_s, moment)

    def encode(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        moments = {at_s: _encode(moment) for at_s, moment in self.intervals.items()}
        return {"step_s": self.step_s, "intervals": moments}

    @classmethod
    def decode(cls, plain: Mapping[str, Any]) -> "TimeSeries":
        """Undo `encode`."""
        moments = {int(at_s): _decode(moment) for at_s, moment in plain["intervals"].items()}
        return cls(plain["step_s"], PackedIntervals(moments))

    def _add(self, at_s: int, moment: Interval) -> None:
        self.intervals.setdefault(at_s // self.step_s * self.step_s, Interval()).merge(moment)

    def _coarsen(self, step_s: int) -> None:
        fine, self.intervals, self.step_s = self.intervals, PackedIntervals(), step_s
        for at_s, moment in fine.items():
            self._add(at_s, moment)


def _encode(moment: Interval) -> dict[str, Any]:
    kinds = {"service": moment.service.encode_plain(), "response": moment.response.encode_plain()}
    return {**vars(moment), **kinds}


def _decode(plain: Mapping[str, Any]) -> Interval:
    kinds = {name: Histogram.decode_plain(plain[name]) for name in ("service", "response")}
    return Interval(**{**plain, **kinds})
