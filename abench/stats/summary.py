"""What was counted. Cheap while it runs, merged freely, made into percentiles only at the end.

A connection puts plain integers into a Recorder. Several times a second they leave its process as
a Summary, and Summaries of any number of moments, processes or machines merge, in any order, to
the same Summary.
"""

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, field

from abench.stats import samples
from abench.stats.coverage import Coverage
from abench.stats.histogram import Histogram
from abench.stats.intervals import Interval
from abench.stats.samples import MAX_PER_KIND, REDIRECT, Sample
from abench.stats.stages import StageStats
from abench.stats.time_series import TimeSeries

REPORT_INTERVAL_S = 0.2  # how often a process sends what it has counted
FAILURE_KINDS = ("connect", "timeout", "reset", "stale", "protocol", "status", "body")

_WRONG = ("status", "body", "protocol")  # something came, and was not what it should have been


@dataclass
class ResourceUsage:
    """What one worker process took for its share.

    `cpu_ns` of processor time in `wall_ns`, `peak_rss` octets resident at most. `lag` has the
    microseconds by which a timer of its loop came late, a hundred times a second: time in which
    replies that had arrived were not looked at. Timers have steps of a millisecond.
    """

    cpu_ns: int = 0
    wall_ns: int = 0
    peak_rss: int = 0
    lag: Histogram = field(default_factory=Histogram)


class Recorder:
    """The hot path's notebook: one process's counts since they were last taken.

    `service` is a plain list of microseconds, one for each success, for a connection to append
    to. A reply recognised as like the last one read in full is nothing but such an append: its
    status and length are those that `expect` was told, and are multiplied out in `take`.
    `response` is the same from when each request was due, where there is a schedule.
    """

    __slots__ = (
        "_bytes",
        "_failures",
        "_length",
        "_parsed",
        "_reasons",
        "_responses",
        "_samples",
        "_status",
        "_statuses",
        "response",
        "retried",
        "service",
    )

    def __init__(self) -> None:
        self.service: list[int] = []
        self.response: list[int] = []
        self._responses = 0  # until the last `take`
        self.retried = 0  # requests asked again, since a kept connection was stale
        self._parsed = 0  # of `service`, how many were not recognised but read in full
        self._status = self._length = self._bytes = 0
        self._statuses: Counter[int] = Counter()
        self._failures: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._samples: dict[str, dict[str, Sample]] = {}  # by kind and detail

    def recognize_as(self, status: int, length: int) -> None:
        """Take replies recognised from now on as of this status and this many octets."""
        self._count_recognized()
        self._status, self._length = status, length

    def success(self, status: int, took_us: int) -> None:
        """Count a reply that was read in full."""
        self.service.append(took_us)
        self._parsed += 1
        if status:  # HTTP/0.9 has none
            self._statuses[status] += 1

    def failure(self, kind: str, status: int = 0, *said: object) -> None:
        """Count a request that failed; `status` is that of its reply, if there was a whole one.

        What `said` is made of tells why, and is put together only for the first of its kind.
        """
        self._failures[kind] += 1
        if status:
            self._statuses[status] += 1
        if said:
            self.sample(kind, str(status) if status else "", *said)

    def sample(self, kind: str, detail: str, *said: object) -> None:
        """Keep what was said, if it is the first of its kind and detail since the last `take`.

        A redirect is kept for good: those that are like it are recognised, and not read again.
        """
        known = self._samples.setdefault(kind, {})
        if detail not in known and len(known) < MAX_PER_KIND:
            now_us = time.perf_counter_ns() // 1000
            known[detail] = Sample(now_us, kind, detail, samples.format_message(said))

    def connect_failed(self, reason: str) -> None:
        """Count why a connection could not be opened, by the name of the system's error."""
        self._reasons[reason] += 1

    def received(self, octets: int) -> None:
        """Count octets of a reply that is being read."""
        self._bytes += octets

    @property
    def responses(self) -> int:
        """How many replies have come so far, right ones or not; also what was none, but came."""
        wrong = sum(self._failures[kind] for kind in _WRONG)
        return self._responses + len(self.service) + wrong

    def take(self, at_s: int = 0) -> "Summary":
        """Return all that was counted since the last call, as of the second `at_s`; forget it."""
        self._count_recognized()
        self._responses = self.responses
        taken = Summary(
            service=Histogram.of(self.service),
            response=Histogram.of(self.response),
            status=self._statuses,
            failures=self._failures,
            reasons=self._reasons,
            bytes_received=self._bytes,
            retried=self.retried,
            samples=[one for known in self._samples.values() for one in known.values()],
        )
        if self._bytes or self.service or self._failures:
            taken.series.add(at_s, taken.interval())
        self.service.clear()  # in place: connections hold its append
        self.response.clear()
        self._statuses, self._failures, self._reasons = Counter(), Counter(), Counter()
        self._samples = {REDIRECT: self._samples.get(REDIRECT, {})}
        self._parsed = self._bytes = self.retried = 0
        return taken

    def _count_recognized(self) -> None:
        """Count the status and the octets of the replies that were only recognised."""
        if recognised := len(self.service) - self._parsed:
            self._statuses[self._status] += recognised
            self._bytes += recognised * self._length
            self._parsed += recognised


_MAX_FIELDS = (
    "elapsed_ns",
    "start_within_ns",
    "stopped_by",
    "warmup_ns",
    "steady",
    "last_start_ns",
)
_HISTOGRAMS = ("service", "response", "waits", "due_waits")
_SUM_FIELDS = (
    "bytes_received",
    "open_connections",
    "unfinished",
    "retried",
    "started",
    "late",
    "skipped",
    "paused_ns",
    "warmup_requests",
    "lost",
    "gave_up",
)


@dataclass(kw_only=True)
class Summary:
    """All that was counted in a run, or in any part of it.

    `service` is the time from sending a request to the end of its reply, `response` from when it
    was due by the schedule. `standing` is connections that stood when the clock started,
    `unfinished` requests without an outcome when it stopped, `retried` those that were asked
    again, once each, since a kept connection ended before a byte of the response came;
    `elapsed_ns` is the longest of the
    shares' clocks, which started within `start_within_ns` of each other. By the schedule, `started`
    requests were started, `late` of them a millisecond or more after their time, and `skipped`
    never. `warmup_ns` and `warmup_requests` were left out before the clock started; `steady` tells
    whether the server was found to have settled by then. `lost` is worker processes that died, with
    only what they had reported counted; `gave_up` those that ended early because nothing could be
    connected to; `faults` says what went wrong in abench itself. `stopped_by` is the
    signal that ended the run, 0 for none.

    `answering` is when replies came, or none was waited for. `waits` has how long requests without
    an outcome had been under way when the clock stopped, `due_waits` the same from when they were
    due, with the first of those that never started. For `paused_ns`, of all connections together,
    nothing was asked since a connection had failed to open and the next attempt was not due.
    `stages` are by their place in the schedule, and `last_start_ns` is when the last request that
    there was to start had started, if it had. `samples` are the first failures of each kind, and
    the first redirects.
    """

    service: Histogram = field(default_factory=Histogram)
    response: Histogram = field(default_factory=Histogram)
    series: TimeSeries = field(default_factory=TimeSeries)
    costs: list[ResourceUsage] = field(default_factory=list)
    stages: dict[int, StageStats] = field(default_factory=dict)
    answering: Coverage = field(default_factory=Coverage)
    waits: Histogram = field(default_factory=Histogram)
    due_waits: Histogram = field(default_factory=Histogram)
    status: Counter[int] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    bytes_received: int = 0
    open_connections: int = 0
    unfinished: int = 0
    retried: int = 0
    started: int = 0
    late: int = 0
    skipped: int = 0
    last_start_ns: int = 0
    paused_ns: int = 0
    warmup_ns: int = 0
    warmup_requests: int = 0
    steady: bool = False
    elapsed_ns: int = 0
    start_within_ns: int = 0
    lost: int = 0
    gave_up: int = 0
    stopped_by: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def succeeded(self) -> int:
        """Requests with the right reply, complete and in time."""
        return self.service.count

    @property
    def failed(self) -> int:
        """Requests with any other outcome."""
        return self.failures.total()

    def interval(self) -> Interval:
        """Return what was counted as one moment of a series."""
        whole = Interval(self.succeeded, self.failed, self.bytes_received)
        whole.service.merge(self.service)
        whole.response.merge(self.response)
        return whole

    def merge(self, other: "Summary") -> None:
        """Count another part of the same run."""
        for name in (*_HISTOGRAMS, "series", "answering"):
            getattr(self, name).merge(getattr(other, name))
        self.status.update(other.status)
        self.failures.update(other.failures)
        self.reasons.update(other.reasons)
        if other.samples:
            self.samples = samples.merge_samples([*self.samples, *other.samples])
        for name in _SUM_FIELDS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for number, stage in other.stages.items():
            self.stages.setdefault(number, StageStats()).merge(stage)
        for name in _MAX_FIELDS:
            setattr(self, name, max(getattr(self, name), getattr(other, name)))
        self.costs = sorted(self.costs + other.costs, key=repr)  # in any order, the same
        self.faults = sorted(self.faults + other.faults)

    def encode(self) -> str:
        """Return the Summary as JSON, for another machine to merge."""
        coded: dict[str, object] = {
            name: getattr(self, name).encode_plain() for name in _HISTOGRAMS
        }
        coded["series"] = self.series.encode()
        coded["stages"] = {number: one.encode() for number, one in self.stages.items()}
        coded["answering"] = self.answering.encode()
        coded["samples"] = [asdict(sample) for sample in self.samples]
        costs = [{**vars(cost), "lag": cost.lag.encode_plain()} for cost in self.costs]
        return json.dumps({**vars(self), **coded, "costs": costs})

    @classmethod
    def decode(cls, text: str) -> "Summary":
        """Undo `encode`."""
        plain = json.loads(text)
        for name in _HISTOGRAMS:
            plain[name] = Histogram.decode_plain(plain[name])
        plain["series"] = TimeSeries.decode(plain["series"])
        stages = plain["stages"].items()
        plain["stages"] = {int(number): StageStats.decode(one) for number, one in stages}
        plain["samples"] = [Sample(**one) for one in plain["samples"]]
        plain["answering"] = Coverage.decode(plain["answering"])
        plain["costs"] = [
            ResourceUsage(**{**cost, "lag": Histogram.decode_plain(cost["lag"])})
            for cost in plain["costs"]
        ]
        plain["status"] = Counter({int(code): n for code, n in plain["status"].items()})
        for name in ("failures", "reasons"):
            plain[name] = Counter(plain[name])
        return cls(**plain)
