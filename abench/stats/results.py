"""The figures of a run, derived once from what was counted. Every report is drawn from these."""

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

LATE_TOLERANCE_S = 0.1  # by which the last of a number of requests may be late, for whatever reason
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution in microseconds: `percentiles` by name, p50 to p99.9; None without values."""

    min: int | None
    mean: float | None
    percentiles: dict[str, int | None]
    max: int | None


@dataclass(frozen=True, slots=True)
class Second:
    """What was counted in `length_s` seconds from the second `at_s` on.

    `asked_per_sec` is the rate that a schedule had in them.
    """

    at_s: int
    length_s: float
    succeeded: int
    failed: int
    bytes_received: int
    service: Latency
    response: Latency | None
    asked_per_sec: float | None = None

    @property
    def pages_per_sec(self) -> float:
        """Successes each second."""
        return self.succeeded / self.length_s if self.length_s else 0.0


@dataclass(frozen=True, slots=True)
class ScheduleResult:
    """How well a schedule was kept: requests per second that were due, and that were started.

    `asked` is the rate that was given, None where there is not just one. `late` started a
    millisecond or more after they were due, `skipped` never.
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
        """The part of the requests that were started which started late."""
        return self.late / self.started if self.started else 0.0

    @property
    def is_met(self) -> bool:
        """Whether what was asked for is what was done, to a hundredth."""
        return self.achieved >= 0.99 * self.offered


@dataclass(frozen=True, slots=True)
class StageResult:
    """What came of the requests that were due in one stage, `text` as it was given."""

    text: str
    from_s: float
    length_s: float
    paced: ScheduleResult
    succeeded: int
    failed: int
    unfinished: int
    service: Latency
    response: Latency


@dataclass(frozen=True, slots=True)
class Silence:
    """The longest time in which no reply came although one was waited for, seconds of the run.

    `to_the_end` says that nothing came any more.
    """

    from_s: float
    length_s: float
    to_the_end: bool


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Requests without an answer at the end that had waited longer than the slowest answer.

    What they took is not known, but that it was more than that: they are in the latencies with
    their wait, at most `longest_us`.
    """

    count: int
    longest_us: int


@dataclass(frozen=True, slots=True)
class ClientUsage:
    """What abench itself took: each worker's share of a core, and its event loop's lag.

    `peak_rss` is what the largest worker held at most, in octets.
    """

    cpu: tuple[float, ...]
    lag: Latency
    peak_rss: int


@dataclass(frozen=True, slots=True)
class Warmup:
    """What was left out before the clock started; `steady` is None where nobody looked."""

    duration_s: float
    requests: int
    steady: bool | None


@dataclass(frozen=True, slots=True)
class Redirect:
    """Responses that lead to another URL: how many, and what the first of them said.

    `location` is None where it did not say where to.
    """

    count: int
    status: int
    location: str | None


@dataclass(frozen=True, slots=True)
class Threshold:
    """One condition under which a run fails, whether it came true, and what was measured."""

    text: str
    failed: bool
    measured: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a run showed. Rates count successes only, per second from the first request on.

    No two workers started further apart than `start_within_s`. `standing` is how many connections
    were open when the clock started; `service` the time from sending a request (or opening a
    connection for it) to the last octet of its reply, `response` that from when it was due by the
    schedule, which a closed loop has not; successes only.
    `retried` requests were asked again, since a kept connection was stale.
    `failures` has every kind, also those that did not occur, and `reasons` the system's names for
    why connections failed to open; `samples` are the first failures of each kind, and `redirect` is
    None where no response was one. `silence` is None where it was not measured, and `paused` the
    part of its time that a connection was left closed on average, since none could be opened:
    nothing was asked in it, and so nothing failed. `kernel` and `server` are what was seen from
    outside; `is_local` says that the server is on this machine, None that nobody knows, and
    `shares_cores` that it may run where this client does. `body_bytes` were sent with each request;
    a plan that was read from a file has no body. `lost_workers` died: only what
    they had reported is in the figures. `stopped_by` is the signal that ended the run early, or 0.
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
    paced: ScheduleResult | None
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
    urls_left_out: int = 0  # of a saved report, which lists only so many

    @property
    def total(self) -> int:
        """Requests with an outcome."""
        return self.succeeded + self.failed

    @property
    def error_share(self) -> float | None:
        """The part of requests that failed, as many as there had been without pauses.

        In a closed loop a connection that cannot be opened pauses for up to a second where others
        ask a thousand times: counted by requests, a server that is gone would hardly have failed.
        With a schedule, what is not asked is skipped, and counted as that.
        """
        if not self.total:
            return None
        lost = 0.0 if self.paced else self.paused
        return 1 - (1 - self.failed / self.total) * (1 - lost)

    @property
    def outage(self) -> Silence | None:
        """The silence, if it is longer than this server's answers and the run's length explain."""
        silence, usual_us = self.silence, self.service.percentiles["p50"] or 0
        if silence is None or not self.succeeded:
            return None
        least_s = max(min(1.0, self.duration_s / 4), 0.1, 5 * usual_us / 1e6)
        return silence if silence.length_s >= least_s else None

    @property
    def pages_per_sec(self) -> float:
        """Successes each second."""
        return self._per_second(self.succeeded)

    @property
    def pages_per_min(self) -> float:
        """Successes each minute, as webbench gives them."""
        return 60 * self.pages_per_sec

    @property
    def bytes_per_sec(self) -> float:
        """Octets of replies each second, heads included."""
        return self._per_second(self.bytes_received)

    @property
    def server_us_per_request(self) -> float | None:
        """The server's processor time for each request that reached it, in microseconds."""
        asked = self.total + self.unfinished + self.summary.warmup_requests
        return self.server.cpu_s * 1e6 / asked if self.server and asked else None

    def _per_second(self, count: int) -> float:
        return count / self.duration_s if self.duration_s else 0.0


def build_report(plan: Plan, summary: Summary) -> Report:
    """Make the Report of a run of `plan` that counted `summary`."""
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
        paced=_paced(plan, summary, duration_s),
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
    """Return the service or the response times of successes, and the waits beyond all of them.

    A request without an answer at the end takes longer than it had waited by then. If that is more
    than the slowest answer took, its place in the distribution is known.
    """
    known = Histogram()
    known.merge(getattr(summary, which))
    known.merge(_beyond(summary, which))
    return known


def _beyond(summary: Summary | StageStats, which: str) -> Histogram:
    """Return the waits at the end that were longer than the slowest answer took."""
    waits: Histogram = {"service": summary.waits, "response": summary.due_waits}[which]
    slowest = getattr(summary, which).max_us
    return Histogram.of(list(waits.above(slowest).elements()))


def _waiting(plan: Plan, summary: Summary) -> Unanswered:
    beyond = _beyond(summary, "response" if plan.schedule else "service")
    return Unanswered(beyond.count, beyond.max_us)


def _silence(summary: Summary, duration_s: float) -> Silence | None:
    """Return the longest silence; of a run without any reply, all of it is one."""
    if not duration_s or (summary.succeeded and not summary.answering.intervals):
        return None
    until_ms = summary.elapsed_ns // 1_000_000  # as ends of stretches are counted
    begin_ms, end_ms = summary.answering.longest_gap(until_ms)
    if not summary.answering.intervals:
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
    """Yield every step of the run in order; the last of them lasts until its end.

    A second in which nothing was counted is a second all the same: an outage that were left out
    would be missing from every mean, and be a step that nobody sees in a plot. What came last was
    counted as of half a beat before the end, where the last step is: it may be longer than the
    others by as much, since it has what came in that time.
    """
    last_s = int(max(duration_s - REPORT_INTERVAL_S / 2, max(series.intervals, default=0)))
    series.extend_to(last_s)
    for at_s in range(0, last_s + 1 if duration_s or series.intervals else 0, series.step_s):
        moment = series.at(at_s)
        is_last = at_s + series.step_s > last_s
        length_s = max(0.0, duration_s - at_s) if is_last else float(series.step_s)
        yield Second(
            at_s=at_s,
            length_s=length_s,
            succeeded=moment.succeeded,
            failed=moment.failed,
            bytes_received=moment.bytes_received,
            service=_latency(moment.service),
            response=_latency(moment.response) if plan.schedule else None,
            asked_per_sec=_asked(plan.schedule, at_s, length_s) if plan.schedule else None,
        )


def _asked(schedule: ArrivalSchedule, at_s: float, length_s: float) -> float | None:
    """Return the rate of a schedule in a part of a run; None where it is over."""
    due = schedule.due(at_s + length_s) - schedule.due(at_s)
    is_over = at_s >= schedule.length_s and not due
    return None if is_over or not length_s else due / length_s


def _paced(plan: Plan, summary: Summary, duration_s: float) -> ScheduleResult | None:
    """Return how well the schedule was kept, at rates that no length of a run makes others.

    In 2 s at 0.1 a second one request is due, the first, and none at 0.5 a second: what is offered
    is the rate of the schedule over the run. Of that so much was achieved as was started of what
    was due; and where a number of requests ends the run, of what was due until the last started.
    """
    if plan.schedule is None:
        return None
    most = min(plan.schedule.due(duration_s), plan.requests or math.inf)
    due = summary.started + _skipped(summary, most, lost=summary.lost > 0)
    offered = _offered(plan, plan.schedule, duration_s, due)
    achieved = offered * (summary.started / due) if due else 0.0
    if summary.last_start_ns and not summary.lost:  # a dead worker's part started never
        meanwhile = plan.schedule.due(summary.last_start_ns / 1e9 - LATE_TOLERANCE_S)
        achieved *= min(1.0, summary.started / meanwhile) if meanwhile > 0 else 1.0
    counts = (due, summary.started, summary.late, due - summary.started)
    return ScheduleResult(offered, achieved, *counts, requested=plan.rate)


def _skipped(counted: Summary | StageStats, due: float, *, lost: bool) -> int:
    """Return how many requests never started of those that were due: a dead worker cannot tell."""
    return max(counted.skipped, round(due) - counted.started) if lost else counted.skipped


def _offered(plan: Plan, schedule: ArrivalSchedule, duration_s: float, due: int) -> float:
    """Return how many requests a second were due; of chance, as many as chance had it."""
    length_s = min(duration_s, schedule.length_s) or duration_s
    if not length_s:
        return 0.0
    by_chance = plan.arrivals == "poisson" and not plan.requests
    counted = by_chance or not isinstance(schedule, Schedule)
    return (due if counted else schedule.due(length_s)) / length_s


def _stages(plan: Plan, summary: Summary, duration_s: float) -> Iterator[StageResult]:
    """Yield each stage that the run came to."""
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
            paced=ScheduleResult(
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
