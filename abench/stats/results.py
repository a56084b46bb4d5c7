"""The results of a run, derived once from its counts; all forms of the report show them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from abench.plan.plan import Plan
from abench.plan.schedule import ArrivalSchedule, Schedule
from abench.stats.environment import Environment
from abench.stats.histogram import Histogram
from abench.stats.samples import REDIRECT, Sample, is_redirect
from abench.stats.stages import StageStats
from abench.stats.summary import FAILURE_KINDS, REPORT_INTERVAL_S, ResourceUsage, Summary
from abench.stats.time_series import TimeSeries
from abench.system.procfs import ServerUsage, TcpCounters

LATE_TOLERANCE_S = 0.1  # how late the last of `-n` requests may start, for whatever reason
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}


@dataclass(frozen=True, slots=True)
class Latency:
    """A latency distribution in us; `percentiles` by name, p50 to p99.9; None without values."""

    min: int | None
    mean: float | None
    percentiles: dict[str, int | None]
    max: int | None


@dataclass(frozen=True, slots=True)
class Second:
    """The results of one interval: `length_s` seconds from second `at_s` on.

    `requested_per_sec` is the rate of the schedule in it, None without one or after its end.
    """

    at_s: int
    length_s: float
    succeeded: int
    failed: int
    bytes_received: int
    service: Latency
    response: Latency | None
    requested_per_sec: float | None = None

    @property
    def pages_per_sec(self) -> float:
        """Successes per second."""
        return self.succeeded / self.length_s if self.length_s else 0.0


@dataclass(frozen=True, slots=True)
class ScheduleResult:
    """How well a schedule was met: requests per second that were due, and that were started.

    `requested` is the rate of `--rate`, None for stages and logs. `late` requests started a
    millisecond or more after they were due; `skipped` ones never started.
    """

    offered: float
    achieved: float
    due: int
    started: int
    late: int
    skipped: int
    requested: float | None = None

    @property
    def late_share(self) -> float:
        """The share of the started requests that started late."""
        return self.late / self.started if self.started else 0.0

    @property
    def is_met(self) -> bool:
        """Whether the achieved rate is at least 99 % of the offered rate."""
        return self.achieved >= 0.99 * self.offered


@dataclass(frozen=True, slots=True)
class StageResult:
    """The results of the requests due in one stage; `text` is the stage as it was given."""

    text: str
    from_s: float
    length_s: float
    schedule: ScheduleResult
    succeeded: int
    failed: int
    unfinished: int
    service: Latency
    response: Latency


@dataclass(frozen=True, slots=True)
class Silence:
    """The longest time, in seconds, in which no response came although one was expected.

    `to_the_end` says that no response came after it.
    """

    from_s: float
    length_s: float
    to_the_end: bool


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Requests without a response at the end that had waited longer than the slowest response.

    Their latency is unknown, but above that: they count in the latencies with their wait so far,
    at max_due `longest_us`.
    """

    count: int
    longest_us: int


@dataclass(frozen=True, slots=True)
class ClientUsage:
    """What abench itself used: the share of a core of each worker, and the event-loop lag.

    `peak_rss` is the peak memory of the largest worker, in bytes.
    """

    cpu: tuple[float, ...]
    lag: Latency
    peak_rss: int


@dataclass(frozen=True, slots=True)
class Warmup:
    """What was excluded before the clock started; `steady` is None if it was not checked."""

    duration_s: float
    requests: int
    steady: bool | None


@dataclass(frozen=True, slots=True)
class Redirect:
    """Responses that redirect to another URL: their number, and the first of them.

    `location` is None where the first had no Location header.
    """

    count: int
    status: int
    location: str | None


@dataclass(frozen=True, slots=True)
class Threshold:
    """A condition of `--fail-if`: whether the run failed by it, and the measured value."""

    text: str
    failed: bool
    measured: str


@dataclass(frozen=True, slots=True)
class Report:
    """The results of a run. Rates count successes only, per second from the first request on.

    Rates and times:
        `start_within_s`: no two workers started further apart than this.
        `open_connections`: connections that were open when the clock started.
        `service`: from sending a request (or opening a connection for it) to the last byte of its
            response; successes only.
        `response`: from when the request was due by the schedule; None in a closed loop.
        `schedule`: how well the schedule was met; None in a closed loop.

    Failures:
        `failures`: the count of every kind, 0 included.
        `reasons`: the system's names for why connections failed to open.
        `samples`: the first failures of each kind.
        `redirect`: None if no response was a redirect.
        `retried`: requests that were retried because a keep-alive connection was stale.
        `silence`: the longest time without a response; None if it was not measured.
        `paused`: the average share of its time that a connection stayed closed because none could
            be opened. No request is sent in that time, and so none fails.
        `lost_workers`: workers that died; only what they had reported is counted.
        `stopped_by`: the signal that ended the run early, or 0.

    Environment:
        `kernel`, `server`: measured from outside.
        `is_local`: whether the server is on this machine; None if that is unknown.
        `shares_cores`: whether the server may run on the cores of this client.
        `body_bytes`: sent with each request; a plan that was read from a file has no body.
    """

    plan: Plan
    duration_s: float
    start_within_s: float
    succeeded: int
    failed: int
    unfinished: int
    retried: int
    failures: dict[str, int]
    reasons: dict[str, int]
    status: dict[int, int]
    bytes_received: int
    open_connections: int
    service: Latency
    response: Latency | None
    series: tuple[Second, ...]
    schedule: ScheduleResult | None
    client: ClientUsage
    warmup: Warmup | None
    lost_workers: int
    faults: tuple[str, ...]
    gave_up: bool
    stopped_by: int
    summary: Summary = field(repr=False, compare=False)
    stages: tuple[StageResult, ...] = ()
    waiting: Unanswered = Unanswered(0, 0)
    silence: Silence | None = None
    paused: float = 0.0
    is_local: bool | None = False
    shares_cores: bool | None = None
    kernel: TcpCounters | None = None
    server: ServerUsage | None = None
    environment: Environment | None = None
    thresholds: tuple[Threshold, ...] = ()
    samples: tuple[Sample, ...] = ()
    redirect: Redirect | None = None
    body_bytes: int = 0
    urls_left_out: int = 0  # of a saved report, which lists a limited number

    @property
    def total(self) -> int:
        """Requests with an outcome."""
        return self.succeeded + self.failed

    @property
    def error_share(self) -> float | None:
        """The share of requests that failed, with pauses counted as failures in a closed loop.

        A connection that cannot be opened pauses for up to a second, in which others send a
        thousand requests: counted by requests alone, a server that is down would hardly fail.
        With a schedule, requests that are not sent count as skipped instead.
        """
        if not self.total:
            return None
        lost = 0.0 if self.schedule else self.paused
        return 1 - (1 - self.failed / self.total) * (1 - lost)

    @property
    def outage(self) -> Silence | None:
        """The silence, if the usual latency and the length of the run do not explain it."""
        silence, usual_us = self.silence, self.service.percentiles["p50"] or 0
        if silence is None or not self.succeeded:
            return None
        least_s = max(min(1.0, self.duration_s / 4), 0.1, 5 * usual_us / 1e6)
        return silence if silence.length_s >= least_s else None

    @property
    def pages_per_sec(self) -> float:
        """Successes per second."""
        return self._per_second(self.succeeded)

    @property
    def pages_per_min(self) -> float:
        """Successes per minute, as webbench reports them."""
        return 60 * self.pages_per_sec

    @property
    def bytes_per_sec(self) -> float:
        """Bytes of responses per second, headers included."""
        return self._per_second(self.bytes_received)

    @property
    def server_us_per_request(self) -> float | None:
        """CPU time of the server per request, in microseconds."""
        received_requests = self.total + self.unfinished + self.summary.warmup_requests
        return (
            self.server.cpu_s * 1e6 / received_requests
            if self.server and received_requests
            else None
        )

    def _per_second(self, count: int) -> float:
        return count / self.duration_s if self.duration_s else 0.0


def build_report(plan: Plan, summary: Summary) -> Report:
    """Return the Report of a run of `plan` with the counts `summary`."""
    duration_s = summary.elapsed_ns / 1e9
    return Report(
        plan=plan,
        duration_s=duration_s,
        start_within_s=summary.start_within_ns / 1e9,
        succeeded=summary.succeeded,
        failed=summary.failed,
        unfinished=summary.unfinished,
        retried=summary.retried,
        failures={kind: summary.failures[kind] for kind in FAILURE_KINDS},
        reasons=dict(summary.reasons),
        status=dict(sorted(summary.status.items())),
        bytes_received=summary.bytes_received,
        open_connections=summary.open_connections,
        service=_latency(latencies_with_waits(summary, "service")),
        response=_latency(latencies_with_waits(summary, "response")) if plan.schedule else None,
        series=tuple(_seconds(plan, summary.series, duration_s)),
        schedule=_schedule_result(plan, summary, duration_s),
        client=_client(summary.costs),
        warmup=_warmup(plan, summary) if plan.warms_up else None,
        lost_workers=summary.lost,
        faults=tuple(summary.faults),
        gave_up=summary.gave_up > 0,
        stopped_by=summary.stopped_by,
        summary=summary,
        stages=tuple(_stages(plan, summary, duration_s)),
        waiting=_waiting(plan, summary),
        silence=_silence(summary, duration_s),
        paused=_paused(plan, summary, duration_s),
        samples=tuple(one for one in summary.samples if summary.failures[one.kind]),
        redirect=_redirect(summary),
        body_bytes=len(plan.body),
    )


def _redirect(summary: Summary) -> Redirect | None:
    seen = {status: n for status, n in summary.status.items() if is_redirect(status) and n}
    if not seen:
        return None
    samples = (one for one in summary.samples if one.kind == REDIRECT)
    first = next(samples, None)
    if first is None:
        return Redirect(sum(seen.values()), min(seen), None)
    return Redirect(sum(seen.values()), int(first.detail), first.message or None)


def latencies_with_waits(summary: Summary | StageStats, which: str) -> Histogram:
    """Return the service or response times of successes, and the longer waits at the end.

    A request without a response at the end takes longer than it had waited by then. If that is
    longer than the slowest response, its place in the distribution is known.
    """
    latencies = Histogram()
    latencies.merge(getattr(summary, which))
    latencies.merge(_beyond(summary, which))
    return latencies


def _beyond(summary: Summary | StageStats, which: str) -> Histogram:
    """Return the waits at the end that were longer than the slowest response."""
    waits: Histogram = {"service": summary.waits, "response": summary.due_waits}[which]
    slowest = getattr(summary, which).max_us
    return Histogram.of(list(waits.above(slowest).elements()))


def _waiting(plan: Plan, summary: Summary) -> Unanswered:
    beyond = _beyond(summary, "response" if plan.schedule else "service")
    return Unanswered(beyond.count, beyond.max_us)


def _silence(summary: Summary, duration_s: float) -> Silence | None:
    """Return the longest silence; a run without any response is silent as a whole."""
    if not duration_s or (summary.succeeded and not summary.answering.spans):
        return None
    until_ms = summary.elapsed_ns // 1_000_000  # rounded like the ends of spans
    begin_ms, end_ms = summary.answering.longest_gap(until_ms)
    if not summary.answering.spans:
        return Silence(0.0, duration_s, to_the_end=True)
    return Silence(begin_ms / 1000, (end_ms - begin_ms) / 1000, begin_ms < end_ms == until_ms)


def _paused(plan: Plan, summary: Summary, duration_s: float) -> float:
    whole_ns = plan.connections * duration_s * 1e9
    return min(1.0, summary.paused_ns / whole_ns) if whole_ns else 0.0


def _latency(histogram: Histogram) -> Latency:
    found = histogram.percentiles(PERCENTILES.values())
    named = {name: found[percent] for name, percent in PERCENTILES.items()}
    return Latency(histogram.min, histogram.mean, named, histogram.max)


def _seconds(plan: Plan, series: TimeSeries, duration_s: float) -> Iterator[Second]:
    """Yield every interval of the run in order; the last one ends with the run.

    Intervals without counts are included: an outage that was left out would be missing from every
    mean and invisible in a plot. The last interval begins half a report interval before the end
    or earlier, and so may be longer than the others by half a report interval.
    """
    last_s = int(max(duration_s - REPORT_INTERVAL_S / 2, max(series.intervals, default=0)))
    series.extend_to(last_s)
    for at_s in range(0, last_s + 1 if duration_s or series.intervals else 0, series.step_s):
        interval = series.at(at_s)
        is_last = at_s + series.step_s > last_s
        length_s = max(0.0, duration_s - at_s) if is_last else float(series.step_s)
        yield Second(
            at_s=at_s,
            length_s=length_s,
            succeeded=interval.succeeded,
            failed=interval.failed,
            bytes_received=interval.bytes_received,
            service=_latency(interval.service),
            response=_latency(interval.response) if plan.schedule else None,
            requested_per_sec=_requested_per_sec(plan.schedule, at_s, length_s)
            if plan.schedule
            else None,
        )


def _requested_per_sec(schedule: ArrivalSchedule, at_s: float, length_s: float) -> float | None:
    """Return the rate of a schedule in a part of a run; None after its end."""
    due = schedule.due(at_s + length_s) - schedule.due(at_s)
    has_ended = at_s >= schedule.length_s and not due
    return None if has_ended or not length_s else due / length_s


def _schedule_result(plan: Plan, summary: Summary, duration_s: float) -> ScheduleResult | None:
    """Return how well the schedule was met, by rates that do not depend on the run's length.

    Few requests are due in a short run at a low rate: in 2 s at 0.1/s only the first. The offered
    rate is therefore the schedule's own over the run. The achieved rate is its share that was
    started; where `-n` ends the run, its share of what was due until the last request started.
    """
    if plan.schedule is None:
        return None
    max_due = min(plan.schedule.due(duration_s), plan.requests or math.inf)
    due = summary.started + _skipped(summary, max_due, lost=summary.lost > 0)
    offered = _offered(plan, plan.schedule, duration_s, due)
    achieved = offered * (summary.started / due) if due else 0.0
    if summary.last_start_ns and not summary.lost:  # the share of a dead worker never started
        due_until_last_start = plan.schedule.due(summary.last_start_ns / 1e9 - LATE_TOLERANCE_S)
        achieved *= (
            min(1.0, summary.started / due_until_last_start) if due_until_last_start > 0 else 1.0
        )
    counts = (due, summary.started, summary.late, due - summary.started)
    return ScheduleResult(offered, achieved, *counts, requested=plan.rate)


def _skipped(counted: Summary | StageStats, due: float, *, lost: bool) -> int:
    """Return how many due requests never started, those of a dead worker included."""
    return max(counted.skipped, round(due) - counted.started) if lost else counted.skipped


def _offered(plan: Plan, schedule: ArrivalSchedule, duration_s: float, due: int) -> float:
    """Return the rate at which requests were due; random arrivals are counted."""
    length_s = min(duration_s, schedule.length_s) or duration_s
    if not length_s:
        return 0.0
    random_arrivals = plan.arrivals == "poisson" and not plan.requests
    counted = random_arrivals or not isinstance(schedule, Schedule)
    return (due if counted else schedule.due(length_s)) / length_s


def _stages(plan: Plan, summary: Summary, duration_s: float) -> Iterator[StageResult]:
    """Yield each stage that the run reached."""
    schedule, from_s = plan.schedule, 0.0
    if not plan.stages or not isinstance(schedule, Schedule):
        return
    for number, (text, stage) in enumerate(
        zip(plan.stages.split(","), schedule.stages, strict=True)
    ):
        length_s = min(stage.length_s, duration_s - from_s)
        if length_s <= 0:
            return
        counted = summary.stages.get(number, StageStats())
        offered = stage.due(length_s) / length_s
        due = counted.started + _skipped(counted, stage.due(length_s), lost=summary.lost > 0)
        achieved = offered * (counted.started / due) if due else 0.0
        yield StageResult(
            text=text.strip(),
            from_s=from_s,
            length_s=length_s,
            schedule=ScheduleResult(
                offered, achieved, due, counted.started, counted.late, due - counted.started
            ),
            succeeded=counted.service.count,
            failed=counted.failed,
            unfinished=counted.unfinished,
            service=_latency(latencies_with_waits(counted, "service")),
            response=_latency(latencies_with_waits(counted, "response")),
        )
        from_s += stage.length_s


def _client(costs: list[ResourceUsage]) -> ClientUsage:
    lag = Histogram()
    for cost in costs:
        lag.merge(cost.lag)
    cpu = tuple(cost.cpu_ns / cost.wall_ns if cost.wall_ns else 0.0 for cost in costs)
    return ClientUsage(cpu, _latency(lag), max((cost.peak_rss for cost in costs), default=0))


def _warmup(plan: Plan, summary: Summary) -> Warmup:
    steady = summary.steady if plan.warmup_auto else None
    return Warmup(summary.warmup_ns / 1e9, summary.warmup_requests, steady)
