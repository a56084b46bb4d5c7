"""The counts of a run: cheap while it runs, merged in any order, percentiles only at the end.

A connection puts plain integers into a Recorder. Several times a second they leave the process as
a Summary. Summaries of any number of intervals, processes or machines merge, in any order, to the
same Summary.
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Annotated

from abench.stats import counts
from abench.stats.counts import BY_NAME, BY_NUMBER, HISTOGRAM, MAX, SORTED, SUM, Rule
from abench.stats.coverage import Coverage
from abench.stats.groups import BY_GROUP, GroupStats
from abench.stats.handshakes import Handshakes
from abench.stats.histogram import Histogram
from abench.stats.intervals import Interval
from abench.stats.nodes import NODES, Node
from abench.stats.phases import MERGED as PHASES_MERGED
from abench.stats.phases import Phases
from abench.stats.samples import Sample, merge_samples
from abench.stats.scenario_counts import ScenarioCounts
from abench.stats.stages import StageStats
from abench.stats.time_series import TimeSeries

REPORT_INTERVAL_S = 0.2  # how often a process sends its counts
FAILURES = {
    "connect": ("Connect", "The connection could not be opened; `reasons` says why."),
    "tls": ("TLS", "The connection was opened, but not TLS on it; `reasons` says why."),
    "timeout": ("Timeout", "No complete response within `timeout_s`."),
    "reset": ("Reset", "The connection ended before the response was complete."),
    "stale": (
        "Stale",
        (
            "A reused connection ended before the first byte of the response, and the "
            "request was not sent again."
        ),
    ),
    "protocol": (
        "Protocol",
        "The response was not valid HTTP, or not of the length that it announced.",
    ),
    "status": ("Status", "The status code was not an expected one."),
    "body": ("Body", "The body did not contain the expected text."),
}
"""Title and text of each kind of failure."""

FAILURE_KINDS = tuple(FAILURES)


@dataclass
class ResourceUsage:
    """What one worker process used: CPU time in `wall_ns`, and `peak_rss` bytes of memory.

    For `waited_ns` it was ready to run and had no core.

    `lag` is the event-loop lag in microseconds: how late a timer fired, measured a hundred times a
    second. In that time, responses that had arrived were not read. Timers have a resolution of one
    millisecond.
    """

    cpu_ns: Annotated[int, SUM] = 0
    wall_ns: Annotated[int, SUM] = 0
    peak_rss: Annotated[int, MAX] = 0
    lag: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    waited_ns: Annotated[int, SUM] = 0


def _merge_stages(
    one: dict[int, StageStats], other: dict[int, StageStats]
) -> dict[int, StageStats]:
    for number, stage in other.items():
        one.setdefault(number, StageStats()).merge(stage)
    return one


_SERIES = Rule(counts.merge_into, TimeSeries.encode, TimeSeries.decode)
_COVERAGE = Rule(counts.merge_into, Coverage.encode, Coverage.decode)
_STAGES = Rule(
    _merge_stages,
    lambda stages: {number: one.encode() for number, one in stages.items()},
    lambda plain: {int(number): StageStats.decode(one) for number, one in plain.items()},
)
_SCENARIO = Rule(counts.merge_into, ScenarioCounts.encode, ScenarioCounts.decode)
_HANDSHAKES = Rule(counts.merge_into, Handshakes.encode, Handshakes.decode)
_SAMPLES = Rule(
    lambda one, other: merge_samples([*one, *other]) if other else one,
    lambda samples: list(map(asdict, samples)),
    lambda plain: [Sample(**one) for one in plain],
)
_WORKERS = Rule(
    lambda one, other: sorted(one + other, key=repr),  # the same in any order of merging
    lambda workers: list(map(counts.encode, workers)),
    lambda plain: [counts.decode(ResourceUsage, one) for one in plain],
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
        `followed`: redirects that were followed; what they led to is one request.
        `started`, `late`, `skipped`: by the schedule; `late` ones started a millisecond or more
            after they were due, `skipped` ones never.
        `stages`: keyed by the index of the stage in the schedule.
        `groups`: keyed by the number of the group in the plan, if there are several.
        `sizes`: bytes of each response to a success, where they are known.
        `last_start_ns`: when the last request to be started was started, if it was.
        `samples`: the first failures of each kind, and the first redirects.
        `scenario`: with a scenario, whose iterations are then what `started`, `late`, `skipped` and
            `stages` count.

    Connections and workers:
        `addresses`: attempts to connect to each address, if there are several.
        `phases`: how long it took to open connections while the clock ran, and the parts of
            requests, wherever they happened.
        `handshakes`: what TLS agreed on, and how many sessions were resumed.
        `open_connections`: when the clock started.
        `paused_ns`: the time, summed over all connections, in which no request could be sent
            because a connection had failed to open and the next attempt was not due.
        `answering`: when responses came, or none was expected.
        `cpu_ns`: what all workers have used until their last reports; `costs` has it at the end.
        `elapsed_ns`: the longest of the workers' clocks, which started within `start_within_ns`
            of each other.
        `warmup_ns`, `warmup_requests`: excluded before the clock started. `steady` is whether the
            rate had settled by then.
        `lost`: worker processes that died; only what they had reported is counted.
        `nodes`: of a run over several machines.
        `gave_up`: workers that ended early because no connection could be opened.
        `faults`: what went wrong in abench itself.
        `stopped_by`: the signal that ended the run, 0 for none.
    """

    service: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    response: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    series: Annotated[TimeSeries, _SERIES] = field(default_factory=TimeSeries)
    costs: Annotated[list[ResourceUsage], _WORKERS] = field(default_factory=list)
    stages: Annotated[dict[int, StageStats], _STAGES] = field(default_factory=dict)
    groups: Annotated[dict[int, GroupStats], BY_GROUP] = field(default_factory=dict)
    answering: Annotated[Coverage, _COVERAGE] = field(default_factory=Coverage)
    waits: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    due_waits: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    status: Annotated[Counter[int], BY_NUMBER] = field(default_factory=Counter)
    failures: Annotated[Counter[str], BY_NAME] = field(default_factory=Counter)
    reasons: Annotated[Counter[str], BY_NAME] = field(default_factory=Counter)
    samples: Annotated[list[Sample], _SAMPLES] = field(default_factory=list)
    scenario: Annotated[ScenarioCounts, _SCENARIO] = field(default_factory=ScenarioCounts)
    sizes: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    bytes_received: Annotated[int, SUM] = 0
    bytes_sent: Annotated[int, SUM] = 0
    phases: Annotated[Phases, PHASES_MERGED] = field(default_factory=Phases)
    handshakes: Annotated[Handshakes, _HANDSHAKES] = field(default_factory=Handshakes)
    open_connections: Annotated[int, SUM] = 0
    unfinished: Annotated[int, SUM] = 0
    retried: Annotated[int, SUM] = 0
    followed: Annotated[int, SUM] = 0
    addresses: Annotated[Counter[str], BY_NAME] = field(default_factory=Counter)
    started: Annotated[int, SUM] = 0
    late: Annotated[int, SUM] = 0
    skipped: Annotated[int, SUM] = 0
    last_start_ns: Annotated[int, MAX] = 0
    paused_ns: Annotated[int, SUM] = 0
    cpu_ns: Annotated[int, SUM] = 0
    warmup_ns: Annotated[int, MAX] = 0
    warmup_requests: Annotated[int, SUM] = 0
    steady: Annotated[bool, MAX] = False
    elapsed_ns: Annotated[int, MAX] = 0
    start_within_ns: Annotated[int, MAX] = 0
    lost: Annotated[int, SUM] = 0
    nodes: Annotated[list[Node], NODES] = field(default_factory=list)
    gave_up: Annotated[int, SUM] = 0
    stopped_by: Annotated[int, MAX] = 0
    faults: Annotated[list[str], SORTED] = field(default_factory=list)

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
        counts.merge(self, other)

    def encode(self) -> str:
        """Return the Summary as JSON, for another machine to merge."""
        return json.dumps(counts.encode(self))

    @classmethod
    def decode(cls, text: str) -> "Summary":
        """Decode the text of `encode`."""
        return counts.decode(cls, json.loads(text))
