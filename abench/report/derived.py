"""The figures of a run, derived once from what was counted. Every report is drawn from these."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from abench.histogram import Histogram
from abench.plan import Plan
from abench.probes import Kernel, Server
from abench.report.environment import Environment
from abench.series import Series
from abench.summary import FAILURE_KINDS, REPORT_EVERY_S, Cost, Summary

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
    """What was counted in `length_s` seconds from the second `at_s` on."""

    at_s: int
    length_s: float
    succeeded: int
    failed: int
    bytes_received: int
    service: Latency
    response: Latency | None

    @property
    def pages_per_sec(self) -> float:
        """Successes each second."""
        return self.succeeded / self.length_s if self.length_s else 0.0


@dataclass(frozen=True, slots=True)
class Paced:
    """How well a schedule was kept: requests per second that were due, and that were started.

    `late` started a millisecond or more after they were due, `skipped` never.
    """

    offered: float
    achieved: float
    due: int
    started: int
    late: int
    skipped: int

    @property
    def is_kept(self) -> bool:
        """Whether what was asked for is what was done, to a hundredth."""
        return not self.skipped and self.achieved >= 0.99 * self.offered


@dataclass(frozen=True, slots=True)
class Client:
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
    `failures` has every kind, also those that did not occur, and `reasons` the system's names for
    why connections failed to open. `kernel` and `server` are what was seen from outside;
    `is_local` says that the server is on this machine. `lost_workers` died: only what
    they had reported is in the figures. `stopped_by` is the signal that ended the run early, or 0.
    """

    plan: Plan
    duration_s: float
    start_within_s: float
    succeeded: int
    failed: int
    unfinished: int
    failures: dict[str, int]
    reasons: dict[str, int]
    status: dict[int, int]
    bytes_received: int
    standing: int
    service: Latency
    response: Latency | None
    series: tuple[Second, ...]
    paced: Paced | None
    client: Client
    warmup: Warmup | None
    lost_workers: int
    faults: tuple[str, ...]
    gave_up: bool
    stopped_by: int
    summary: Summary = field(repr=False, compare=False)
    is_local: bool = False
    kernel: Kernel | None = None
    server: Server | None = None
    environment: Environment | None = None
    thresholds: tuple[Threshold, ...] = ()

    @property
    def total(self) -> int:
        """Requests with an outcome."""
        return self.succeeded + self.failed

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


def derive(plan: Plan, summary: Summary) -> Report:
    """Make the Report of a run of `plan` that counted `summary`."""
    duration_s = summary.elapsed_ns / 1e9
    return Report(
        plan=plan,
        duration_s=duration_s,
        start_within_s=summary.start_within_ns / 1e9,
        succeeded=summary.succeeded,
        failed=summary.failed,
        unfinished=summary.unfinished,
        failures={kind: summary.failures[kind] for kind in FAILURE_KINDS},
        reasons=dict(summary.reasons),
        status=dict(sorted(summary.status.items())),
        bytes_received=summary.bytes_received,
        standing=summary.standing,
        service=_latency(summary.service),
        response=_latency(summary.response) if plan.schedule else None,
        series=tuple(_seconds(plan, summary.series, duration_s)),
        paced=_paced(summary, duration_s) if plan.schedule else None,
        client=_client(summary.costs),
        warmup=_warmup(plan, summary) if plan.warms_up else None,
        lost_workers=summary.lost,
        faults=tuple(summary.faults),
        gave_up=summary.gave_up > 0,
        stopped_by=summary.stopped_by,
        summary=summary,
    )


def _latency(histogram: Histogram) -> Latency:
    found = histogram.percentiles(PERCENTILES.values())
    named = {name: found[percent] for name, percent in PERCENTILES.items()}
    return Latency(histogram.min, histogram.mean, named, histogram.max)


def _seconds(plan: Plan, series: Series, duration_s: float) -> Iterator[Second]:
    """Yield every step of the run in order; the last of them is as long as the run still was.

    A second in which nothing was counted is a second all the same: an outage that were left out
    would be missing from every mean, and be a step that nobody sees in a plot. What came last was
    counted as of half a beat before the end, where the last step is.
    """
    last_s = int(max(duration_s - REPORT_EVERY_S / 2, max(series.moments, default=0)))
    series.reach(last_s)
    for at_s in range(0, last_s + 1 if duration_s or series.moments else 0, series.step_s):
        moment = series.at(at_s)
        yield Second(
            at_s=at_s,
            length_s=max(0.0, min(series.step_s, duration_s - at_s)),
            succeeded=moment.succeeded,
            failed=moment.failed,
            bytes_received=moment.bytes_received,
            service=_latency(moment.service),
            response=_latency(moment.response) if plan.schedule else None,
        )


def _paced(summary: Summary, duration_s: float) -> Paced:
    due = summary.started + summary.skipped
    offered, achieved = (n / duration_s if duration_s else 0.0 for n in (due, summary.started))
    return Paced(offered, achieved, due, summary.started, summary.late, summary.skipped)


def _client(costs: list[Cost]) -> Client:
    lag = Histogram()
    for cost in costs:
        lag.merge(cost.lag)
    cpu = tuple(cost.cpu_ns / cost.wall_ns if cost.wall_ns else 0.0 for cost in costs)
    return Client(cpu, _latency(lag), max((cost.peak_rss for cost in costs), default=0))


def _warmup(plan: Plan, summary: Summary) -> Warmup:
    steady = summary.steady if plan.warmup_auto else None
    return Warmup(summary.warmup_ns / 1e9, summary.warmup_requests, steady)
