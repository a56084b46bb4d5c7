"""The parts of a run's results: figures that belong together."""

from dataclasses import dataclass
from typing import Annotated, Literal

from abench.stats.figure import Figure, Gate, derived
from abench.stats.summary import FAILURE_KINDS

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}


@dataclass(frozen=True, slots=True)
class Latency:
    """A latency distribution in microseconds; None without values."""

    min: Annotated[int | None, Figure("The shortest.", "us", gate=Gate("min"))]
    mean: Annotated[float | None, Figure("The arithmetic mean.", "us", gate=Gate("mean"))]
    percentiles: Annotated[
        dict[str, int | None],
        Figure(
            "At or below it lies this percentage of the values.",
            "us",
            names=tuple(PERCENTILES),
            compared=("p50", "p90", "p99"),
        ),
    ]
    max: Annotated[int | None, Figure("The longest.", "us", gate=Gate("max"))]

    @property
    @derived(after="")
    def unit(self) -> Literal["us"]:
        """Microseconds."""
        return "us"


_SERVICE = Figure(
    "Service times: from sending a request, or opening a connection for it, to the last byte of its"
    " response; successes only.",
    "us",
    key="latency/service",
)
_RESPONSE = Figure(
    "Response times: from when a request was due by the schedule; null in a closed loop.",
    "us",
    key="latency/response",
)


@dataclass(frozen=True, slots=True)
class Second:
    """The results of one interval of the run."""

    at_s: Annotated[int, Figure("When the interval begins, after the start.", "s")]
    length_s: Annotated[float, Figure("How long the interval is.", "s")]
    succeeded: Annotated[int, Figure("Successes in the interval.", "requests")]
    failed: Annotated[int, Figure("Failures in the interval.", "requests")]
    bytes_received: Annotated[int, Figure("Bytes of responses, headers included.", "bytes")]
    service: Annotated[Latency, _SERVICE]
    response: Annotated[Latency | None, _RESPONSE]
    requested_per_sec: Annotated[
        float | None,
        Figure(
            "The rate of the schedule; null without one, and after its end.",
            "/s",
            key="asked_per_sec",
            after="pages_per_sec",
            later=True,
        ),
    ] = None

    @property
    @derived("/s", after="bytes_received")
    def pages_per_sec(self) -> float:
        """Successes per second."""
        return self.succeeded / self.length_s if self.length_s else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleResult:
    """How well a schedule was met, in a run or in one of its stages."""

    offered: Annotated[
        float, Figure("The rate at which requests were due.", "/s", key="offered_per_sec")
    ]
    achieved: Annotated[
        float,
        Figure(
            "The rate at which they were started.",
            "/s",
            key="achieved_per_sec",
            gate=Gate("achieved", of="offered", measured="due"),
        ),
    ]
    due: Annotated[int, Figure("Requests that were due.", "requests")]
    started: Annotated[int, Figure("Requests that were started.", "requests")]
    late: Annotated[
        int,
        Figure(
            "Requests that were started a millisecond or more after they were due.",
            "requests",
            gate=Gate("late", of="due"),
        ),
    ]
    skipped: Annotated[
        int,
        Figure(
            "Requests that were due and never started.", "requests", gate=Gate("skipped", of="due")
        ),
    ]

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
    """The results of the requests that were due in one stage."""

    text: Annotated[str, Figure("The stage as it was given.", key="stage")]
    from_s: Annotated[float, Figure("When the stage begins, after the start.", "s")]
    length_s: Annotated[float, Figure("How long the stage lasted.", "s")]
    schedule: Annotated[ScheduleResult, Figure(inline=True)]
    succeeded: Annotated[int, Figure("Requests of the stage that succeeded.", "requests")]
    failed: Annotated[int, Figure("Requests of the stage that failed.", "requests")]
    unfinished: Annotated[
        int, Figure("Requests of the stage without an outcome at the end.", "requests")
    ]
    service: Annotated[Latency, _SERVICE]
    response: Annotated[Latency, _RESPONSE]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSchedule(ScheduleResult):
    """The schedule of a whole run, and how well it was met."""

    requested: Annotated[
        float | None,
        Figure("The rate of `--rate`; null for stages and logs.", "/s", key="rate", after=""),
    ]
    arrivals: Annotated[
        str,
        Figure(
            "Whether requests were due at equal intervals or at random ones.",
            after="rate",
            schema={"enum": ["constant", "poisson"]},
        ),
    ]
    stages: Annotated[str | None, Figure("The stages as they were given.", after="arrivals")]
    by_stage: Annotated[
        tuple[StageResult, ...],
        Figure("The stages that the run reached; empty without stages.", later=True),
    ] = ()

    @property
    @derived(after="skipped")
    def kept(self) -> bool:
        """Whether the achieved rate is at least 99 % of the offered rate."""
        return self.is_met


@dataclass(frozen=True, slots=True)
class Silence:
    """The longest time in which no response came although one was expected."""

    from_s: Annotated[float, Figure("When it began, after the start.", "s")]
    length_s: Annotated[float, Figure("How long it was.", "s", gate=Gate("silence"))]
    to_the_end: Annotated[bool, Figure("Whether no response came after it.")]


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Requests without a response at the end that had waited longer than the slowest response.

    Their latency is unknown, but above that: they count in the latencies with their wait so far.
    """

    count: Annotated[int, Figure("How many there were.", "requests")]
    longest_us: Annotated[int, Figure("The longest of their waits.", "us", key="longest")]

    @property
    @derived(after="")
    def unit(self) -> Literal["us"]:
        """Microseconds."""
        return "us"


@dataclass(frozen=True, slots=True)
class ClientUsage:
    """What abench itself used."""

    cpu: Annotated[
        tuple[float, ...],
        Figure("CPU time of each worker, as a share of a core.", "cores", key="cpu_per_worker"),
    ]
    lag: Annotated[
        Latency,
        Figure("Event-loop lag: how late timers fired, in all workers.", "us", key="loop_lag"),
    ]
    peak_rss: Annotated[
        int, Figure("Peak memory of the largest worker.", "bytes", key="peak_rss_bytes")
    ]


@dataclass(frozen=True, slots=True)
class ServerResult:
    """What the server used, measured from outside (`--server-pid`, `--server-cgroup`)."""

    cpu_s: Annotated[float, Figure("CPU time of all its processes.", "s")]
    us_per_request: Annotated[
        float | None,
        Figure(
            "CPU time for each request that it got; null without any.",
            "us",
            key="cpu_us_per_request",
        ),
    ]
    peak_rss: Annotated[int, Figure("Peak memory.", "bytes", key="peak_rss_bytes")]
    ended: Annotated[bool, Figure("Whether one of its processes ended during the run.")]


@dataclass(frozen=True, slots=True)
class Warmup:
    """What was excluded before the clock started."""

    duration_s: Annotated[float, Figure("How long the warm-up was.", "s")]
    requests: Annotated[int, Figure("Requests in it.", "requests")]
    steady: Annotated[
        bool | None, Figure("Whether the rate had settled; null if that was not checked.")
    ]


@dataclass(frozen=True, slots=True)
class Redirect:
    """Responses that redirect to another URL: a status of 3xx other than 304."""

    count: Annotated[int, Figure("How many there were.", "responses")]
    status: Annotated[
        int, Figure("The status of the first.", schema={"minimum": 300, "maximum": 399})
    ]
    location: Annotated[
        str | None,
        Figure(
            "The Location header of the first, escaped; null without one.",
            schema={"maxLength": 200},
        ),
    ]


@dataclass(frozen=True, slots=True)
class FailureSample:
    """The first failure of a kind and detail."""

    kind: Annotated[str, Figure("The kind of failure.", schema={"enum": list(FAILURE_KINDS)})]
    detail: Annotated[
        str | None,
        Figure("The status code, or why a connection failed to open; null for other kinds."),
    ]
    message: Annotated[
        str,
        Figure(
            "One line: the status line, or the message of the parser, of TLS, of the proxy or of "
            "the system. Control characters are escaped.",
            schema={"maxLength": 200},
        ),
    ]
    at_s: Annotated[float, Figure("When it happened, after counting began.", "s")]


@dataclass(frozen=True, slots=True)
class Threshold:
    """A condition of `--fail-if` and its outcome."""

    text: Annotated[str, Figure("The condition as it was given.")]
    failed: Annotated[bool, Figure("Whether it is true, so that the run failed.")]
    measured: Annotated[str, Figure("The measured value; - if nothing was measured.")]
