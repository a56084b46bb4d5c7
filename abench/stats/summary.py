"""The counts of a run: cheap while it runs, merged in any order, percentiles only at the end.

A connection puts plain integers into a Recorder. Several times a second they leave the process as
a Summary. Summaries of any number of intervals, processes or machines merge, in any order, to the
same Summary.
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

REPORT_INTERVAL_S = 0.2  # how often a process sends its counts
FAILURE_KINDS = ("connect", "timeout", "reset", "stale", "protocol", "status", "body")

_WRONG = ("status", "body", "protocol")  # something came, but not the expected response


@dataclass
class ResourceUsage:
    """What one worker process used: CPU time in `wall_ns`, and `peak_rss` bytes of memory.

    `lag` is the event-loop lag in microseconds: how late a timer fired, measured a hundred times a
    second. In that time, responses that had arrived were not read. Timers have a resolution of one
    millisecond.
    """

    cpu_ns: int = 0
    wall_ns: int = 0
    peak_rss: int = 0
    lag: Histogram = field(default_factory=Histogram)


class Recorder:
    """The counts of one process since they were last taken, for the hot path.

    `service` is a plain list of microseconds, one for each success, for a connection to append
    to. A response that is recognized as equal to the last parsed one costs nothing but that append:
    its status and length were given to `recognize_as`, and are multiplied out in `take`.
    `response` holds the same times counted from when each request was due, with a schedule.
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
        self._responses = 0  # up to the last `take`
        self.retried = 0  # requests retried because a keep-alive connection was stale
        self._parsed = 0  # how many of `service` were parsed, not recognized
        self._status = self._length = self._bytes = 0
        self._statuses: Counter[int] = Counter()
        self._failures: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._samples: dict[str, dict[str, Sample]] = {}  # by kind and detail

    def recognize_as(self, status: int, length: int) -> None:
        """Count responses recognized from now on with this status and length in bytes."""
        self._count_recognized()
        self._status, self._length = status, length

    def success(self, status: int, took_us: int) -> None:
        """Count a response that was parsed."""
        self.service.append(took_us)
        self._parsed += 1
        if status:  # HTTP/0.9 has none
            self._statuses[status] += 1

    def failure(self, kind: str, status: int = 0, *parts: object) -> None:
        """Count a failed request; `status` is that of its response, if a complete one came.

        `parts` are the parts of a message, which is formatted only for the first of its kind.
        """
        self._failures[kind] += 1
        if status:
            self._statuses[status] += 1
        if parts:
            self.sample(kind, str(status) if status else "", *parts)

    def sample(self, kind: str, detail: str, *parts: object) -> None:
        """Keep the message if it is the first of its kind and detail since the last `take`.

        A redirect is kept for good: equal responses are recognized and not parsed again.
        """
        by_detail = self._samples.setdefault(kind, {})
        if detail not in by_detail and len(by_detail) < MAX_PER_KIND:
            now_us = time.perf_counter_ns() // 1000
            by_detail[detail] = Sample(now_us, kind, detail, samples.format_message(parts))

    def connect_failed(self, reason: str) -> None:
        """Count a connection that could not be opened, by the name of the system's error."""
        self._reasons[reason] += 1

    def received(self, size: int) -> None:
        """Count bytes of a response that is being parsed."""
        self._bytes += size

    @property
    def responses(self) -> int:
        """The number of responses so far, right or wrong; anything else that came included."""
        wrong = sum(self._failures[kind] for kind in _WRONG)
        return self._responses + len(self.service) + wrong

    def take(self, at_s: int = 0) -> "Summary":
        """Return the counts since the last call as those of second `at_s`, and reset them."""
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
            samples=[one for by_detail in self._samples.values() for one in by_detail.values()],
        )
        if self._bytes or self.service or self._failures:
            taken.series.add(at_s, taken.interval())
        self.service.clear()  # in place: connections hold its `append`
        self.response.clear()
        self._statuses, self._failures, self._reasons = Counter(), Counter(), Counter()
        self._samples = {REDIRECT: self._samples.get(REDIRECT, {})}
        self._parsed = self._bytes = self.retried = 0
        return taken

    def _count_recognized(self) -> None:
        """Count the status and the bytes of the responses that were only recognized."""
        if recognized := len(self.service) - self._parsed:
            self._statuses[self._status] += recognized
            self._bytes += recognized * self._length
            self._parsed += recognized


_MAXIMA = (
    "elapsed_ns",
    "start_within_ns",
    "stopped_by",
    "warmup_ns",
    "steady",
    "last_start_ns",
)
_HISTOGRAMS = ("service", "response", "waits", "due_waits")
_SUMS = (
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
    """The counts of a run, or of any part of it.

    Times:
        `service`: from sending a request to the end of its response.
        `response`: from when the request was due by the schedule.
        `waits`: how long requests without an outcome had been in flight when the clock stopped.
        `due_waits`: the same from when they were due, and of the first that never started.

    Requests:
        `unfinished`: without an outcome when the clock stopped.
        `retried`: sent again, once each, because a keep-alive connection was closed before a byte
            of the response came.
        `started`, `late`, `skipped`: by the schedule; `late` ones started a millisecond or more
            after they were due, `skipped` ones never.
        `stages`: keyed by the index of the stage in the schedule.
        `last_start_ns`: when the last request to be started was started, if it was.
        `samples`: the first failures of each kind, and the first redirects.

    Connections and workers:
        `open_connections`: when the clock started.
        `paused_ns`: the time, summed over all connections, in which no request could be sent
            because a connection had failed to open and the next attempt was not due.
        `answering`: when responses came, or none was expected.
        `elapsed_ns`: the longest of the workers' clocks, which started within `start_within_ns`
            of each other.
        `warmup_ns`, `warmup_requests`: excluded before the clock started. `steady` is whether the
            rate had settled by then.
        `lost`: worker processes that died; only what they had reported is counted.
        `gave_up`: workers that ended early because no connection could be opened.
        `faults`: what went wrong in abench itself.
        `stopped_by`: the signal that ended the run, 0 for none.
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
        """Requests with the expected response, complete and in time."""
        return self.service.count

    @property
    def failed(self) -> int:
        """Requests with any other outcome."""
        return self.failures.total()

    def interval(self) -> Interval:
        """Return the counts as one interval of a time series."""
        interval = Interval(self.succeeded, self.failed, self.bytes_received)
        interval.service.merge(self.service)
        interval.response.merge(self.response)
        return interval

    def merge(self, other: "Summary") -> None:
        """Add another part of the same run."""
        for name in (*_HISTOGRAMS, "series", "answering"):
            getattr(self, name).merge(getattr(other, name))
        self.status.update(other.status)
        self.failures.update(other.failures)
        self.reasons.update(other.reasons)
        if other.samples:
            self.samples = samples.merge_samples([*self.samples, *other.samples])
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for number, stage in other.stages.items():
            self.stages.setdefault(number, StageStats()).merge(stage)
        for name in _MAXIMA:
            setattr(self, name, max(getattr(self, name), getattr(other, name)))
        self.costs = sorted(self.costs + other.costs, key=repr)  # the same in any order of merging
        self.faults = sorted(self.faults + other.faults)

    def encode(self) -> str:
        """Return the Summary as JSON, for another machine to merge."""
        encoded: dict[str, object] = {
            name: getattr(self, name).encode_plain() for name in _HISTOGRAMS
        }
        encoded["series"] = self.series.encode()
        encoded["stages"] = {number: one.encode() for number, one in self.stages.items()}
        encoded["answering"] = self.answering.encode()
        encoded["samples"] = [asdict(sample) for sample in self.samples]
        costs = [{**vars(cost), "lag": cost.lag.encode_plain()} for cost in self.costs]
        return json.dumps({**vars(self), **encoded, "costs": costs})

    @classmethod
    def decode(cls, text: str) -> "Summary":
        """Decode the text of `encode`."""
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
