"""The description of a run: validated once, and divided among processes."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from abench.errors import ParameterError
from abench.plan import request_groups, workload
from abench.plan.behavior import PLAIN, Behavior
from abench.plan.body_template import BodyTemplate
from abench.plan.log_entries import LogEntries, RecordedLog
from abench.plan.request import IDEMPOTENT_METHODS, Header, RequestTemplate
from abench.plan.request_groups import OTHERS, GroupName, RequestGroups
from abench.plan.route import DIRECT, SYSTEM_TRUST, Route, TlsOptions
from abench.plan.scenario_file import ScenarioFile
from abench.plan.schedule import (
    ARRIVALS,
    ArrivalSchedule,
    RecordedSchedule,
    Schedule,
    Stage,
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
    """A run: which requests, over how many connections, until when.

    A run ends after `duration_s` seconds or after exactly `requests` requests, whichever is first;
    with neither it lasts 10 seconds. `workers` is the number of processes: at most one per
    connection and per request, and one per core by default. `timeout_s` limits one request, from
    the moment it is sent (or its connection starts to open) to the last byte of its response.

    Connections send the next request as soon as they have a response (a closed loop) unless there
    is a schedule: `rate` requests per second, spaced as `arrivals` says, or `stages` of such rates,
    `10s@100,ramp:30s@100-5000`, which also set the duration; with another `seed`, random arrivals
    are others. Then a request starts when it is due,
    or as soon afterwards as a connection is free. The first `warmup_s` seconds are not counted;
    with `warmup_auto`, nothing is counted until the server is steady.

    Each request is `method` with `headers` and `body` for `url`, or for each of `urls` as often as
    its weight says, all on one server; `{n}` in any of them is another number in each request, but
    not in the literal parts of a BodyTemplate. A `replay` sends the requests of a log at the times
    of the log, `speed` times as fast; `url` then names the server. `expect` says which responses
    count as successes.
    `pipeline` is how many requests are in flight on each connection at once; without `keep_alive`,
    each request has a connection of its own, and with `wait` False its response is not waited for.
    With a `scenario`, each connection is a user, who makes the requests: `url` names the server,
    and what is due, and counts as one of `requests`, is an iteration.

    `behavior` is what each connection does beyond that, such as to pause or to follow redirects.
    `route` is how the server is reached, `tls` how it is verified. `address` is the one that was
    found to accept connections, `addresses` are all of them if they are used, and `lookup_us` is
    how long it took to look up their name, if it is one. A plan is plain data and picklable. Making
    one raises ParameterError for a value that makes a run impossible.
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
    seed: int = 0
    stages: str | None = None
    warmup_s: float = 0.0
    warmup_auto: bool = False
    urls: Sequence[WeightedUrl] = ()
    method: str = "GET"
    headers: tuple[Header, ...] = ()
    body: bytes | BodyTemplate = b""
    http: str = "1.1"
    expect: SuccessCriteria = DEFAULT_CRITERIA
    replay: RecordedLog | None = None
    speed: float = 1.0
    pipeline: int = 1
    wait: bool = True
    behavior: Behavior = PLAIN
    scenario: ScenarioFile | None = None
    route: Route = DIRECT
    tls: TlsOptions = SYSTEM_TRUST
    address: str | None = None
    addresses: tuple[str, ...] = ()
    lookup_us: int | None = None
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
            raise ParameterError("--time", "the stages set how long the run lasts")
        if self.duration_s is None and self.requests is None:
            self._set_default_length()
        self._check()

    def _targets(self) -> Sequence[tuple[Target, int]]:
        if isinstance(self.urls, UrlFile):
            return self.urls.targets
        weighted = self.urls or (WeightedUrl(self.url),)
        return tuple((Target.parse(each.url), each.weight) for each in weighted)

    def _schedule(self) -> ArrivalSchedule | None:
        if sum(map(bool, (self.rate is not None, self.stages, self.replay))) > 1:
            raise ParameterError("--rate", "give only one of a rate, stages and a log to replay")
        if self.arrivals not in ARRIVALS:
            known = " or ".join(ARRIVALS)
            raise ParameterError("--arrivals", f"must be {known}, not {self.arrivals!r}")
        if self.stages:
            return self._timed(parse_stages(self.stages))
        if self.rate is not None:
            return self._timed(constant_rate(self.rate))
        if self.arrivals != ARRIVALS[0]:
            raise ParameterError("--arrivals", "it needs --rate or --stages")
        return self._recorded_schedule() if self.replay else None

    def _timed(self, stages: tuple[Stage, ...]) -> Schedule:
        return Schedule(stages, self.arrivals, self.part, self.parts, self.seed)

    def _recorded_schedule(self) -> RecordedSchedule:
        if not 0 < self.speed < float("inf"):
            raise ParameterError("--speed", f"must be above 0, not {self.speed:g}")
        times_s = LogEntries.of(self.replay.entries).times_s if self.replay else ()
        return RecordedSchedule(times_s, self.part, self.parts, self.speed)

    def _set_default_length(self) -> None:
        """Set the length of the run to that of its schedule, or to the default."""
        if self.replay:
            object.__setattr__(self, "requests", len(self.replay.entries))
            return
        object.__setattr__(self, "duration_s", self._stages_s() or DEFAULT_DURATION_S)

    def _stages_s(self) -> float | None:
        """How long the stages last, in seconds; None without stages."""
        return self.schedule.length_s if self.stages and self.schedule else None

    def _check(self) -> None:
        if self.stages and self.warms_up:
            raise ParameterError("--warmup", "with --stages, use a first stage as the warm-up")
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
        if self.scenario:
            others = self.urls or self.replay or self.method != "GET" or self.body
            is_user = self.behavior.is_user
            at_once = self.pipeline != 1 or not self.wait or self.http == "0.9"
            self.scenario.check(self.request_template, makes_all=not (others or at_once or is_user))
        if self.pipeline != 1:
            self._check_pipeline()
        if not self.wait and (self.keep_alive or self.schedule):
            raise ParameterError("--force", "it needs one request per connection, in a closed loop")
        self.behavior.check(
            keep_alive=self.keep_alive,
            is_scheduled=self.schedule is not None,
            is_sequential=self.pipeline == 1 and self.wait and self.http != "0.9",
        )
        if self.http == "0.9" and (self.keep_alive or self.expect.text):
            raise ParameterError("--http09", "a response has no head, and ends with its connection")

    def _servers(self) -> Sequence[tuple[Target, int]]:
        """Return a target for each server: those of a file are all on one."""
        return self.targets[:1] if isinstance(self.urls, UrlFile) else self.targets

    def _check_replay(self) -> None:
        if self.urls or self.method != "GET" or self.body or self.warms_up:
            raise ParameterError("--replay", "the log sets all requests, from its first one on")
        available = len(self.replay.entries) if self.replay else 0
        if self.requests and self.requests > available:
            raise ParameterError("--requests", f"the log has only {available} to replay")

    def _check_pipeline(self) -> None:
        if not 1 <= self.pipeline <= MAX_PIPELINE:
            raise ParameterError("--pipeline", f"must be from 1 to {MAX_PIPELINE}")
        if self.schedule or not self.keep_alive or self.http != "1.1":
            raise ParameterError(
                "--pipeline", "it needs HTTP/1.1, connections kept alive, and no schedule"
            )
        # RFC 9112 section 9.3.2; and a stream of responses does not tell where one to HEAD ends.
        if self.expect.text:
            raise ParameterError("--pipeline", "it does not search bodies")
        if self.method not in IDEMPOTENT_METHODS - {"HEAD"}:
            raise ParameterError("--pipeline", f"cannot be used with {self.method}")

    @property
    def request_template(self) -> RequestTemplate:
        """All of each request but its target."""
        return RequestTemplate(
            method=self.method,
            headers=(*self.headers, *self.route.proxy_headers(self.target)),
            body=self.body,
            version=self.http,
            keep_alive=self.keep_alive,
            absolute=self.route.uses_absolute_form(self.target),
        )

    def workload(self) -> Workload:
        """Return the requests of this share, in the order in which one process sends them."""
        if self.scenario:
            return Workload((), iter(()), self.part, self.parts)
        how = (self.request_template, self.expect, self.part, self.parts)
        if self.replay:
            entries = LogEntries.of(self.replay.entries)
            return workload.recorded_workload(entries, self.target, *how, self._group_number)
        return workload.weighted_workload(self.targets, *how, self._group_number)

    @cached_property
    def groups(self) -> RequestGroups:
        """The requests that have figures of their own, if there is more than one group."""
        if self.replay:
            return request_groups.recorded_groups(LogEntries.of(self.replay.entries))
        return request_groups.weighted_groups(self.targets)

    def group_names(self) -> list[GroupName]:
        """Return what the requests of each group are."""
        keys = self.groups.keys
        if self.replay:
            entries = LogEntries.of(self.replay.entries)
            server = self.target.url.removesuffix(self.target.resource)
            named = [
                GroupName(entries.methods[method], server + resource.decode(errors="replace"))
                for method, resource in keys
            ]
        else:
            named = [GroupName(self.method, self.targets[index][0].url) for index in keys]
        return [*named, GroupName("", OTHERS)] if self.groups.has_others else named

    def _group_number(self, key: Hashable) -> int:
        return self.groups.number(key)

    @property
    def warms_up(self) -> bool:
        """Whether the server is loaded for a while before the clock starts."""
        return self.warmup_auto or self.warmup_s > 0

    @property
    def stage_ends_s(self) -> list[float]:
        """When each stage ends, in seconds from the start; empty without stages."""
        staged = self.stages and isinstance(self.schedule, Schedule)
        return self.schedule.ends_s() if staged else []  # type: ignore[union-attr]

    @property
    def processes(self) -> int:
        """How many processes carry out this plan: each has at least a connection and a request."""
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
    """Divide `total` into `parts` whole numbers that differ by at most one and add up to it."""
    quotient, remainder = divmod(total, parts)
    return [quotient + (part < remainder) for part in range(parts)]


def _check_positive(option: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise ParameterError(option, f"must be at least 1, not {value}")


def _check_seconds(option: str, value: float | None, maximum: float) -> None:
    if value is not None and not 0 < value <= maximum:  # False for NaN, too
        raise ParameterError(option, f"must be above 0 and at most {maximum:.0f} s, not {value:g}")
