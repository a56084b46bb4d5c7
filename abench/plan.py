"""What a run is to do: written down once, checked once, and divided among processes."""

import os
from dataclasses import dataclass, field, replace

from abench.errors import ParameterError
from abench.pacing import ARRIVALS, Schedule, parse_stages, steady
from abench.target import Target

DEFAULT_DURATION_S = 10.0
LONGEST_DURATION_S = 7 * 24 * 3600.0
LONGEST_TIMEOUT_S = 3600.0
METHODS = ("GET", "HEAD")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run: what is asked, over how many connections, until when.

    A run ends after `duration_s` seconds or after exactly `requests` requests; with neither it
    lasts 10 seconds. `workers` is processes: at most one per core, per connection and per
    request, and as many as that by default. `timeout_s` limits one request, from the moment it is
    sent (or its connection begins to open) to the last octet of its reply.

    Connections ask again as soon as they have their answer (a closed loop) unless there is a
    schedule: `rate` requests per second, evenly or as `arrivals` says, or `stages` of such rates,
    `10s@100,ramp:30s@100-5000`, which also say how long the run lasts. Then a request starts when
    it is due, or as soon afterwards as a connection is free. What happens in the first `warmup_s`
    seconds is left out; with `warmup_auto`, all until the server has settled.

    A plan is plain data and picklable. Making one raises ParameterError for a value no run can
    be made of.
    """

    url: str
    connections: int = 10
    duration_s: float | None = None
    requests: int | None = None
    workers: int | None = None
    timeout_s: float = 10.0
    keep_alive: bool = True
    method: str = "GET"
    rate: float | None = None
    arrivals: str = "constant"
    stages: str | None = None
    warmup_s: float = 0.0
    warmup_auto: bool = False
    address: str | None = None
    part: int = 0
    parts: int = 1
    target: Target = field(init=False)
    schedule: Schedule | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", Target.parse(self.url))
        object.__setattr__(self, "schedule", self._schedule())
        if self.stages and self.duration_s is not None:
            raise ParameterError("--time", "the stages say how long the run lasts")
        if self.duration_s is None and self.requests is None:
            length_s = self.schedule.length_s if self.stages and self.schedule else None
            object.__setattr__(self, "duration_s", length_s or DEFAULT_DURATION_S)
        self._check()

    def _schedule(self) -> Schedule | None:
        if self.rate is not None and self.stages:
            raise ParameterError("--rate", "give either a rate or stages")
        if self.arrivals not in ARRIVALS:
            raise ParameterError("--arrivals", f"{self.arrivals} is not one of {ARRIVALS}")
        if self.stages:
            return Schedule(parse_stages(self.stages), self.arrivals, self.part, self.parts)
        if self.rate is not None:
            return Schedule(steady(self.rate), self.arrivals, self.part, self.parts)
        if self.arrivals != ARRIVALS[0]:
            raise ParameterError("--arrivals", "it needs --rate or --stages")
        return None

    def _check(self) -> None:
        if self.duration_s is not None and self.requests is not None:
            raise ParameterError("--requests", "give either a time or a number of requests")
        if self.stages and self.warms_up:
            raise ParameterError("--warmup", "a first stage can be one; --stages have no other")
        _at_least_one("--connections", self.connections)
        _at_least_one("--requests", self.requests)
        _at_least_one("--workers", self.workers)
        _seconds("--time", self.duration_s, LONGEST_DURATION_S)
        _seconds("--timeout", self.timeout_s, LONGEST_TIMEOUT_S)
        _seconds("--warmup", self.warmup_s or None, LONGEST_TIMEOUT_S)
        if self.method not in METHODS:
            raise ParameterError("method", f"{self.method} is not one of {', '.join(METHODS)}")

    @property
    def request(self) -> bytes:
        """The bytes of each request."""
        return self.target.request(self.method, keep_alive=self.keep_alive)

    @property
    def warms_up(self) -> bool:
        """Whether the clock starts only when the server has been loaded for a while."""
        return self.warmup_auto or self.warmup_s > 0

    @property
    def processes(self) -> int:
        """How many processes carry this plan: each has a connection and a request at least."""
        wanted = self.workers or len(os.sched_getaffinity(0))
        return min(wanted, self.connections, self.requests or wanted)

    def split(self, parts: int) -> list["Plan"]:
        """Divide into `parts` plans whose connections and requests add up to this one's."""
        connections = _portions(self.connections, parts)
        requests = _portions(self.requests, parts) if self.requests else [None] * parts
        # The length of stages was taken from them and is the same again for each share.
        length_s = None if self.stages else self.duration_s
        return [
            replace(
                self,
                connections=connections[part],
                requests=requests[part],
                duration_s=length_s,
                workers=1,
                part=part,
                parts=parts,
            )
            for part in range(parts)
        ]


def _portions(total: int, parts: int) -> list[int]:
    """Divide `total` into `parts` whole numbers that differ by one at most and lose nothing."""
    least, more = divmod(total, parts)
    return [least + (part < more) for part in range(parts)]


def _at_least_one(option: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise ParameterError(option, f"must be at least 1, not {value}")


def _seconds(option: str, value: float | None, most: float) -> None:
    if value is not None and not 0 < value <= most:  # which no NaN is, either
        raise ParameterError(option, f"must be above 0 and at most {most:.0f} s, not {value:g}")
