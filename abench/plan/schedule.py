"""When requests start. Arithmetic only: time goes in as an argument, never a clock."""

import itertools
import math
import random
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from abench.errors import ParameterError
from abench.plan import quantities

ARRIVALS = ("constant", "poisson")
MAX_RATE = 1_000_000.0  # per second, far above what any machine starts
_SEED = 20_260_101  # a run can be repeated to the microsecond

_STAGE = re.compile(
    r"(?:(?P<ramp>ramp):)?(?P<length>\w[\w. ]*)@(?P<first>\d[\w./]*)(?:-(?P<last>\d[\w./]*))?"
)


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to leave a server alone that cannot be connected to."""

    min_delay_s: float = 0.01
    max_delay_s: float = 1.0

    def delay(self, misses: int) -> float:
        """Return the seconds to wait after `misses` (1 or more) failed attempts in a row."""
        doublings = min(misses - 1, 30)  # 2**30 is past every limit and still exact
        return min(self.min_delay_s * 2.0**doublings, self.max_delay_s)


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of time, in seconds, in which the rate goes evenly from `first` to `last`."""

    length_s: float
    start_rate: float
    end_rate: float

    @property
    def request_count(self) -> float:
        """How many requests become due in it."""
        return self.length_s * (self.start_rate + self.end_rate) / 2

    def due(self, after_s: float) -> float:
        """Return how many requests have become due `after_s` seconds from its beginning."""
        if self.start_rate == self.end_rate:
            return self.start_rate * after_s
        return self.start_rate * after_s + (self.end_rate - self.start_rate) * after_s**2 / (
            2 * self.length_s
        )

    def time_of(self, number: float) -> float:
        """Return how many seconds from its beginning so many requests have become due.

        The root of the quadratic in `due`, in the form that takes no difference of like numbers.
        """
        if not number:
            return 0.0
        if self.start_rate == self.end_rate:
            return number / self.start_rate
        slope = (self.end_rate - self.start_rate) / self.length_s
        return (
            2
            * number
            / (self.start_rate + math.sqrt(max(self.start_rate**2 + 2 * slope * number, 0.0)))
        )


class ArrivalSchedule(Protocol):
    """Says when requests are due, whatever the server does: an open loop."""

    @property
    def length_s(self) -> float:
        """How long it lasts, in seconds."""

    def due(self, after_s: float) -> float:
        """Return how many requests of all shares have become due `after_s` from the start."""

    def missed(self, number: float, after_s: float) -> int:
        """Return how many requests of this share are due by then, from the one `number` on."""

    def times(self) -> Iterator[tuple[float, int]]:
        """Yield each request of this share: its number, and when it is due, in ns."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When requests are due, whatever the server does: an open loop.

    `arrivals` is "constant" (evenly spaced) or "poisson" (independent of each other, as requests
    of many people are). Of `parts` shares of a schedule, this is number `part`: together they are
    the whole, request for request.
    """

    stages: tuple[Stage, ...]
    arrivals: str = "constant"
    part: int = 0
    parts: int = 1

    @property
    def length_s(self) -> float:
        """How long it lasts, in seconds; infinite for a rate without an end."""
        return sum(stage.length_s for stage in self.stages)

    def share(self, part: int, parts: int) -> "Schedule":
        """Return one of `parts` shares, each with every `parts`-th request."""
        return replace(self, part=part, parts=parts)

    def due(self, after_s: float) -> float:
        """Return how many requests of all shares have become due `after_s` from the start."""
        number = 0.0
        for stage in self.stages:
            number += stage.due(min(after_s, stage.length_s))
            after_s -= stage.length_s
            if after_s <= 0:
                break
        return number

    def ends_s(self) -> list[float]:
        """Return when each of the stages ends."""
        return list(itertools.accumulate(stage.length_s for stage in self.stages))

    def missed(self, number: float, after_s: float) -> int:
        """Return how many requests of this share are due by then, from the one `number` on.

        Exact for constant arrivals, and what is to be expected of others.
        """
        return max(0, math.ceil((self.due(after_s) - number) / self.parts))

    def times(self) -> Iterator[tuple[float, int]]:
        """Yield each request of this share: its number, and when it is due, in ns from the start.

        The number is how many requests of all shares are due before it: a whole one where arrivals
        are constant. For others a process of rate 1 is stretched in time to the rates that are
        wanted, so that the number is real.
        """
        numbers = _poisson() if self.arrivals == "poisson" else itertools.count()
        mine = itertools.islice(numbers, self.part, None, self.parts)
        stages = iter(self.stages)
        stage, began_s, before = next(stages), 0.0, 0.0
        for number in mine:
            while number >= before + stage.request_count:
                before += stage.request_count
                began_s += stage.length_s
                following = next(stages, None)
                if following is None:
                    return
                stage = following
            yield number, round((began_s + stage.time_of(number - before)) * 1e9)


@dataclass(frozen=True, slots=True)
class RecordedSchedule:
    """When requests were due that are to be asked again, `speed` times as fast.

    Shares are as a Schedule has them.
    """

    times_s: Sequence[float]
    part: int = 0
    parts: int = 1
    speed: float = 1.0

    @property
    def length_s(self) -> float:
        """How long it lasts, in seconds."""
        return self.times_s[-1] / self.speed

    def due(self, after_s: float) -> float:
        """Return how many requests of all shares have become due `after_s` from the start."""
        return bisect_left(self.times_s, after_s, key=self._when)

    def missed(self, number: float, after_s: float) -> int:
        """Return how many requests of this share are due by then, from the one `number` on."""
        return len(range(int(number), int(self.due(after_s)), self.parts))

    def times(self) -> Iterator[tuple[float, int]]:
        """Yield each request of this share: its number, and when it is due, in ns."""
        for number in range(self.part, len(self.times_s), self.parts):
            yield number, round(self._when(self.times_s[number]) * 1e9)

    def _when(self, at_s: float) -> float:
        return at_s / self.speed


def _poisson() -> Iterator[float]:
    draw = random.Random(_SEED).expovariate  # noqa: S311 - nothing here is a secret
    return itertools.accumulate(iter(lambda: draw(1.0), None))


def constant_rate(rate: float) -> tuple[Stage, ...]:
    """Return the stages of one rate without an end; raises ParameterError."""
    return (Stage(math.inf, _rate("--rate", rate), rate),)


def parse_stages(text: str) -> tuple[Stage, ...]:
    """Return the stages of `10s@100,30s@1000,ramp:30s@100-5000`; raises ParameterError."""
    stages = tuple(_parse_stage(one.strip()) for one in text.split(","))
    if not sum(stage.request_count for stage in stages):
        raise ParameterError("--stages", "no request is ever due")
    return stages


def _parse_stage(text: str) -> Stage:
    found = _STAGE.fullmatch(text)
    if not found or bool(found["ramp"]) != bool(found["last"]):
        raise ParameterError("--stages", f"{text!r} is neither like 10s@100 nor ramp:10s@100-500")
    length_s = quantities.parse_seconds("--stages", found["length"])
    if not 0 < length_s < math.inf:  # which no NaN is, either
        raise ParameterError("--stages", f"{text!r} has no length")
    first = quantities.parse_rate("--stages", found["first"])
    last = quantities.parse_rate("--stages", found["last"]) if found["last"] else first
    return Stage(length_s, _rate("--stages", first, 0), _rate("--stages", last, 0))


def _rate(option: str, rate: float, least: float = 1e-3) -> float:
    if not least <= rate <= MAX_RATE:  # which no NaN is, either
        raise ParameterError(
            option, f"a rate is from {least:g} to {MAX_RATE:,.0f} per second, not {rate:g}"
        )
    return rate
