"""What was counted second by second, for as long as a run may last."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from abench.histogram import Histogram
from abench.moments import Moment, Moments

MOST_MOMENTS = 600  # then two become one: a day's run takes as much memory as ten minutes


@dataclass
class Series:
    """Moments of `step_s` seconds each, by the second from the start at which they begin.

    Steps in which nothing was counted are left out; there was a run in them all the same.
    """

    step_s: int = 1
    moments: Moments = field(default_factory=Moments)

    def add(self, at_s: int, moment: Moment) -> None:
        """Count what was counted at a second."""
        self.reach(at_s)
        self._add(at_s, moment)

    def reach(self, at_s: int) -> None:
        """Have steps so long that a run which gets to a second is told in MOST_MOMENTS of them."""
        step_s = self.step_s
        while at_s >= MOST_MOMENTS * step_s:
            step_s *= 2
        if step_s > self.step_s:
            self._coarsen(step_s)

    def at(self, at_s: int) -> Moment:
        """Return what was counted in the step that begins at a second, which may be nothing."""
        return self.moments.get(at_s, Moment())

    def merge(self, other: "Series") -> None:
        """Count another part of the same run. The order makes no difference."""
        if other.step_s > self.step_s:
            self._coarsen(other.step_s)
        for at_s, moment in other.moments.items():
            self.add(at_s, moment)

    def encode(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        moments = {at_s: _encode(moment) for at_s, moment in self.moments.items()}
        return {"step_s": self.step_s, "moments": moments}

    @classmethod
    def decode(cls, plain: Mapping[str, Any]) -> "Series":
        """Undo `encode`."""
        moments = {int(at_s): _decode(moment) for at_s, moment in plain["moments"].items()}
        return cls(plain["step_s"], Moments(moments))

    def _add(self, at_s: int, moment: Moment) -> None:
        self.moments.setdefault(at_s // self.step_s * self.step_s, Moment()).merge(moment)

    def _coarsen(self, step_s: int) -> None:
        fine, self.moments, self.step_s = self.moments, Moments(), step_s
        for at_s, moment in fine.items():
            self._add(at_s, moment)


def _encode(moment: Moment) -> dict[str, Any]:
    kinds = {"service": moment.service.encode_plain(), "response": moment.response.encode_plain()}
    return {**vars(moment), **kinds}


def _decode(plain: Mapping[str, Any]) -> Moment:
    kinds = {name: Histogram.decode_plain(plain[name]) for name in ("service", "response")}
    return Moment(**{**plain, **kinds})
