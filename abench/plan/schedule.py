"""When requests start. Arithmetic only: time is an argument, there is no clock."""

import itertools
import math
import random
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from abench.errors import ParameterError
from abench.plan import quantities

ARRIVALS = ("constant", "poisson")
MAX_RATE = 1_000_000.0  # requests per second, far above what any machine can start
_SEED = 20_260_101  # that of seed 0; fixed, so that a run can be repeated to the microsecond

_STAGE = re.compile(
    r"(?:(?P<ramp>ramp):)?(?P<length>\w[\w. ]*)@(?P<first>\d[\w./]*)(?:-(?P<last>\d[\w./]*))?"
)


class Backoff(NamedTuple):
    """How long to wait before connecting again to a server that cannot be reached."""

    min_delay_s: float = 0.01
    max_delay_s: float = 1.0

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after `failures` (1 or more) failed attempts in a row."""
        doublings = min(failures - 1, 30)  # 2**30 exceeds every limit and is still exact
        return min(self.min_delay_s * 2.0**doublings, self.max_delay_s)


class Stage(NamedTuple):
    """A period in which the rate changes linearly, from `start_rate` to `end_rate` per second."""

    length_s: float
    start_rate: float
    end_rate: float

    @property
    def request_count(self) -> float:
        """How many requests become due in the stage."""
        return self.length_s * (self.start_rate + self.end_rate) / 2

    def due(self, after_s: float) -> float:
        """Return how many requests have become due `after_s` seconds from its start."""
        if self.start_rate == self.end_rate:
            return self.start_rate * after_s
        return self.start_rate * after_s + (self.end_rate - self.start_rate) * after_s**2 / (
            2 * self.length_s
        )

    def time_of(self, number: float) -> float:
        """Return how many seconds from its start `number` requests have become due.

        The root of the quadratic in `due`, in the form that avoids cancellation.
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
    """When requests are due, independent of the server: an open loop."""

    @property
    def length_s(self) -> float:
        """How long it lasts, in seconds."""

    def due(self, after_s: float) -> float:
        """Return how many requests of all shares are due in the first `after_s` seconds."""

    def missed(self, number: float, after_s: float) -> int:
        """Return how many requests of this share are due by `after_s`, from `number` on."""

    def times(self) -> Iterator[tuple[float, int]]:
        """Yield the number of each request of this share, and when it is due, in ns."""


class Schedule(NamedTuple):
    """When requests are due, independent of the server: an open loop.

    `arrivals` is "constant" (evenly spaced) or "poisson" (independent of each other, like requests
    of many users). This is share number `part` of `parts`: together they are the whole schedule,
    request for request. Schedules with another `seed` have other random arrivals.
    """

    stages: tuple[Stage, ...]
    arrivals: str = "constant"
    part: int = 0
    parts: int = 1
    seed: int = 0

    @property
    def length_s(self) -> float:
        """How long it lasts, in seconds; infinite for a constant rate."""
        return sum(stage.length_s for stage in self.stages)

    def share(self, part: int, parts: int) -> "Schedule":
        """Return one of `parts` shares, each with every `parts`-th request."""
        return self._replace(part=part, parts=parts)

    def due(self, after_s: float) -> float:
        """Return how many requests of all shares are due in the first `after_s` seconds."""
        number = 0.0
        for stage in self.stages:
            number += stage.due(min(after_s, stage.length_s))
            after_s -= stage.length_s
            if after_s <= 0:
                break
        return number

    def ends_s(self) -> list[float]:
        """Return when each stage ends, in seconds from the start."""
        return list(itertools.accumulate(stage.length_s for stage in self.stages))

    def missed(self, number: float, after_s: float) -> int:
        """Return how many requests of this share are due by `after_s`, from `number` on.

        Exact for constant arrivals, the expected value for others.
        """
        return max(0, math.ceil((self.due(after_s) - number) / self.parts))

    def times(self) -> Iterator[tuple[float, int]]:
        """Yield the number of each request of this share, and when it is due, in ns from the start.

        The number is how many requests of all shares are due before it: an integer for constant
        arrivals. For Poisson arrivals, a process of rate 1 is stretched in time to the rates of
        the stages, so the number is a real one.
        """
        numbers = _poisson(self.seed) if self.arrivals == "poisson" else itertools.count()
        own_numbers = itertools.islice(numbers, self.part, None, self.parts)
        stages = iter(self.stages)
        stage, start_s, before = next(stages), 0.0, 0.0
        for number in own_numbers:
            while number >= before + stage.request_count:
                before += stage.request_count
                start_s += stage.length_s
                following = next(stages, None)
                if following is None:
                    return
                stage = following
            yield number, round((start_s + stage.time_of(number - before)) * 1e9)


class RecordedSchedule(NamedTuple):
    """When the requests of a log are due, `speed` times as fast as in the log.

    Shares are those of a Schedule.
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
        """Return how many requests of all shares are due in the first `after_s` seconds."""
        return bisect_left(self.times_s, after_s, key=self._replay_time)

    def missed(self, number: float, after_s: float) -> int:
        """Return how many requests of this share are due by `after_s`, from `number` on."""
        return len(range(int(number), int(self.due(after_s)), self.parts))

    def times(self) -> Iterator[tuple[float, int]]:
        """Yield the number of each request of this share, and when it is due, in ns."""
        for number in range(self.part, len(self.times_s), self.parts):
            yield number, round(self._replay_time(self.times_s[number]) * 1e9)

    def _replay_time(self, at_s: float) -> float:
        return at_s / self.speed


def _poisson(seed: int) -> Iterator[float]:
    next_gap = random.Random(_SEED + seed).expovariate  # noqa: S311 - nothing here is a secret
    return itertools.accumulate(iter(lambda: next_gap(1.0), None))


def constant_rate(rate: float) -> tuple[Stage, ...]:
    """Return one stage of a constant rate that never ends; raises ParameterError."""
    return (Stage(math.inf, _check_rate("--rate", rate), rate),)


def parse_stages(text: str) -> tuple[Stage, ...]:
    """Return the stages of `10s@100,30s@1000,ramp:30s@100-5000`; raises ParameterError."""
    stages = tuple(_parse_stage(stage.strip()) for stage in text.split(","))
    if not sum(stage.request_count for stage in stages):
        raise ParameterError("--stages", "no request is ever due")
    return stages


def _parse_stage(text: str) -> Stage:
    found = _STAGE.fullmatch(text)
    if not found or bool(found["ramp"]) != bool(found["last"]):
        raise ParameterError("--stages", f"{text!r} is not like 10s@100 or ramp:10s@100-500")
    length_s = quantities.parse_seconds("--stages", found["length"])
    if not 0 < length_s < math.inf:  # False for NaN, too
        raise ParameterError("--stages", f"{text!r} has no length")
    first = quantities.parse_rate("--stages", found["first"])
    last = quantities.parse_rate("--stages", found["last"]) if found["last"] else first
    return Stage(length_s, _check_rate("--stages", first, 0), _check_rate("--stages", last, 0))


def _check_rate(option: str, rate: float, minimum: float = 1e-3) -> float:
    if not minimum <= rate <= MAX_RATE:  # False for NaN, too
        raise ParameterError(
            option, f"a rate must be from {minimum:g} to {MAX_RATE:,.0f} per second, not {rate:g}"
        )
    return rate
