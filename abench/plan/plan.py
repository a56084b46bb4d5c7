"""What a run is to do: written down once, checked once, and divided among processes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from abench.errors import ParameterError
from abench.plan import workload
from abench.plan.log_replay import LogEntries, RecordedLog
from abench.plan.request import IDEMPOTENT_METHODS, Header, RequestTemplate
from abench.plan.route import DIRECT, SYSTEM_TRUST, Route, TlsOptions
from abench.plan.schedule import (
    ARRIVALS,
    ArrivalSchedule,
    RecordedSchedule,
    Schedule,
    constant_rate,
    parse_stages,
)
from abench.plan.success import DEFAULT_CRITERIA, SuccessCriteria
from abench.plan.target import Target
from abench.plan.url_file import UrlFile, WeightedUrl
from abench.plan.workload import Workload
from abench.system.cpus import usable_cpus

DEFAULT_DURATION_S = 10.0
MAX_DURATION_S = 7 * 24 * 3600.0
MAX_TIMEOUT_S = 3600.0
MAX_PIPELINE = 1_000
MAX_WORKERS = 1_024  # more processes than any machine has cores for


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run: what is asked, over how many connections, until when.

    A run ends after `duration_s` seconds or after exactly `requests` requests, whichever is first;
    with neither it lasts 10 seconds. `workers` is processes: at most one per connection and per
    request, and one per core by default. `timeout_s` limits one request, from the moment it is
    sent (or its connection begins to open) to the last octet of its reply.

    Connections ask again as soon as they have their answer (a closed loop) unless there is a
    schedule: `rate` requests per second, evenly or as `arrivals` says, or `stages` of such rates,
    `10s@100,ramp:30s@100-5000`, which also say how long the run lasts. Then a request starts when
    it is due, or as soon afterwards as a connection is free. What happens in the first `warmup_s`
    seconds is left out; with `warmup_auto`, all until the server has settled.

    Each request is `method` with `headers` and `body` for `url`, or for each of `urls` as often as
    its weight says, all of one server; `{n}` in any of them is another number in each request. A
    `replay` asks what a log says, when it says so, `speed` times as fast; `url` says which server.
    `expect` says which replies count as successes. `pipeline` requests are under way on each
    connection at once; without `keep_alive`, each has a connection of its own, and with `wait`
    False its reply is not waited for.

    `route` is the way to the server and `tls` how it is trusted. A plan is plain data and
    picklable. Making one raises ParameterError for a value no run can be made of.
    """

    url: str
    connections: int = 10
    duration_s: float | None = None
    requests: int | None = None
    workers: int | None = None
    timeout_s: float = 10.0
    keep_alive: bool = True
    rate: float | None = None
    arrivals: str = "constant"
    stages: str | None = None
    warmup_s: float = 0.0
    warmup_auto: bool = False
    urls: Sequence[WeightedUrl] = ()
    method: str = "GET"
    headers: tuple[Header, ...] = ()
    body: bytes = b""
    http: str = "1.1"
    expect: SuccessCriteria = DEFAULT_CRITERIA
    replay: RecordedLog | None = None
    speed: float = 1.0
    pipeline: int = 1
    wait: bool = True
    route: Route = DIRECT
    tls: TlsOptions = SYSTEM_TRUST
    address: str | None = None
    part: int = 0
    parts: int = 1
    target: Target = field(init=False)
    targets: Sequence[tuple[Target, int]] = field(init=False, repr=False)
    schedule: ArrivalSchedule | None = field(init=False)

    def __post_init__(self) -> None:
        set_once = object.__setattr__
        set_once(self, "target", Target.parse(self.url))
        set_once(self, "targets", self._targets())
        set_once(self, "schedule", self._schedule())
        if self.stages and self.duration_s not in {None, self._stages_s()}:
            raise ParameterError("--time", "the stages say how long the run lasts")
        if self.duration_s is None and self.requests is None:
            self._set_default_length()
        self._check()

    def _targets(self) -> Sequence[tuple[Target, int]]:
        if isinstance(self.urls, UrlFile):
            return self.urls.targets
        weighted = self.urls or (WeightedUrl(self.url),)
        return tuple((Target.parse(one.url), one.weight) for one in weighted)

    def _schedule(self) -> ArrivalSchedule | None:
        if sum(map(bool, (self.rate is not None, self.stages, self.replay))) > 1:
            raise ParameterError("--rate", "give a rate, stages or a log to replay, one of them")
        if self.arrivals not in ARRIVALS:
            raise ParameterError("--arrivals", f"{self.arrivals} is not one of {ARRIVALS}")
        if self.stages:
            return Schedule(parse_stages(self.stages), self.arrivals, self.part, self.parts)
        if self.rate is not None:
            return Schedule(constant_rate(self.rate), self.arrivals, self.part, self.parts)
        if self.arrivals != ARRIVALS[0]:
            raise ParameterError("--arrivals", "it needs --rate or --stages")
        return self._recorded_schedule() if self.replay else None

    def _recorded_schedule(self) -> RecordedSchedule:
        if not 0 < self.speed < float("inf"):
            raise ParameterError("--speed", f"must be above 0, not {self.speed:g}")
        times_s = LogEntries.of(self.replay.entries).times_s if self.replay else ()
        return RecordedSchedule(times_s, self.part, self.parts, self.speed)

    def _set_default_length(self) -> None:
        """Let the run be as long as its schedule has it, or as long as is usual."""
        if self.replay:
            object.__setattr__(self, "requests", len(self.replay.entries))
            return
        object.__setattr__(self, "duration_s", self._stages_s() or DEFAULT_DURATION_S)

    def _stages_s(self) -> float | None:
        """How long the stages last; a plan that is made of another one says so already."""
        return self.schedule.length_s if self.stages and self.schedule else None

    def _check(self) -> None:
        if self.stages and self.warms_up:
            raise ParameterError("--warmup", "a first stage can be one; --stages have no other")
        _check_positive("--connections", self.connections)
        _check_positive("--requests", self.requests)
        _check_positive("--workers", self.workers)
        if (self.workers or 1) > MAX_WORKERS:
            raise ParameterError("--workers", f"at most {MAX_WORKERS:,}, not {self.workers:,}")
        _check_seconds("--time", self.duration_s, MAX_DURATION_S)
        _check_seconds("--timeout", self.timeout_s, MAX_TIMEOUT_S)
        _check_seconds("--warmup", self.warmup_s or None, MAX_TIMEOUT_S)
        self._check_requests()
        self.tls.check(self.target)
        self.route.check(self.target)

    def _check_requests(self) -> None:
        for target, _ in self._servers():
            if target.origin != self.target.origin:
                raise ParameterError(
                    "URL", f"{target.url} is on another server than {self.target.url}"
                )
        self.workload()
        if self.replay:
            self._check_replay()
        if self.pipeline != 1:
            self._check_pipeline()
        if not self.wait and (self.keep_alive or self.schedule):
            raise ParameterError(
                "--force", "it is for one request per connection, in a closed loop"
            )
        if self.http == "0.9" and (self.keep_alive or self.expect.text):
            raise ParameterError("--http09", "a reply has no head, and ends with its connection")

    def _servers(self) -> Sequence[tuple[Target, int]]:
        """Return targets of all servers: those of a file are of one."""
        return self.targets[:1] if isinstance(self.urls, UrlFile) else self.targets

    def _check_replay(self) -> None:
        if self.urls or self.method != "GET" or self.body or self.warms_up:
            raise ParameterError(
                "--replay", "the log says what is asked, from its first request on"
            )
        most = len(self.replay.entries) if self.replay else 0
        if self.requests and self.requests > most:
            raise ParameterError("--requests", f"the log has only {most} to replay")

    def _check_pipeline(self) -> None:
        if not 1 <= self.pipeline <= MAX_PIPELINE:
            raise ParameterError("--pipeline", f"is from 1 to {MAX_PIPELINE}")
        if self.schedule or not self.keep_alive or self.http != "1.1":
            raise ParameterError(
                "--pipeline", "it needs HTTP/1.1, connections kept alive, and no schedule"
            )
        # RFC 9112 section 9.3.2; and where a reply to HEAD ends, a stream of replies does not say.
        if self.expect.text:
            raise ParameterError("--pipeline", "it does not look into bodies")
        if self.method not in IDEMPOTENT_METHODS - {"HEAD"}:
            raise ParameterError("--pipeline", f"not with {self.method}")

    @property
    def request_template(self) -> RequestTemplate:
        """All of each request but what it is for."""
        return RequestTemplate(
            method=self.method,
            headers=(*self.headers, *self.route.proxy_headers(self.target)),
            body=self.body,
            version=self.http,
            keep_alive=self.keep_alive,
            absolute=self.route.uses_absolute_form(self.target),
        )

    def workload(self) -> Workload:
        """Return the requests of this share, for one process to ask in their order."""
        if self.replay:
            entries = LogEntries.of(self.replay.entries)
            return workload.recorded_workload(
                entries, self.target, self.request_template, self.expect, self.part, self.parts
            )
        return workload.weighted_workload(
            self.targets, self.request_template, self.expect, self.part, self.parts
        )

    @property
    def warms_up(self) -> bool:
        """Whether the clock starts only when the server has been loaded for a while."""
        return self.warmup_auto or self.warmup_s > 0

    @property
    def stage_ends_s(self) -> list[float]:
        """When each of the stages that were given ends; empty without any."""
        staged = self.stages and isinstance(self.schedule, Schedule)
        return self.schedule.ends_s() if staged else []  # type: ignore[union-attr]

    @property
    def processes(self) -> int:
        """How many processes carry this plan: each has a connection and a request at least."""
        wanted = self.workers or usable_cpus()
        return min(wanted, self.connections, self.requests or wanted)

    def split(self, parts: int) -> list["Plan"]:
        """Divide into `parts` plans whose connections and requests add up to this one's."""
        connections = _divide(self.connections, parts)
        requests = _divide(self.requests, parts) if self.requests else [None] * parts
        return [
            replace(
                self,
                connections=connections[part],
                requests=requests[part],
                workers=1,
                part=part,
                parts=parts,
            )
            for part in range(parts)
        ]


def _divide(total: int, parts: int) -> list[int]:
    """Divide `total` into `parts` whole numbers that differ by one at most and lose nothing."""
    least, more = divmod(total, parts)
    return [least + (part < more) for part in range(parts)]


def _check_positive(option: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise ParameterError(option, f"must be at least 1, not {value}")


def _check_seconds(option: str, value: float | None, most: float) -> None:
    if value is not None and not 0 < value <= most:  # which no NaN is, either
        raise ParameterError(option, f"must be above 0 and at most {most:.0f} s, not {value:g}")
