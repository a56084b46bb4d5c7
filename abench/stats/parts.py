"""The parts of a run's results: figures that belong together."""

from dataclasses import dataclass
from typing import Annotated, Literal

from abench.stats.figure import Figure, Gate, derived
from abench.stats.latency import RESPONSE, SERVICE, Latency
from abench.stats.summary import FAILURE_KINDS

TCP_COUNTERS = {
    "sent": ("Segments sent", "TCP segments sent."),
    "retransmitted": ("Segments retransmitted", "TCP segments sent again."),
    "listen_overflows": (
        "Listen queue overflows",
        "Connections that found a full listen queue.",
    ),
    "listen_drops": (
        "Dropped connections",
        "Connections that a listening socket dropped, for any reason.",
    ),
    "time_wait": (
        "TIME_WAIT",
        "Closed connections that still held their ports at the end.",
    ),
    "syn_retransmitted": (
        "SYN segments retransmitted",
        "Those among `retransmitted` that open a connection.",
    ),
}
"""Title and text of each field of TcpCounters."""


@dataclass(frozen=True, slots=True)
class Second:
    """The results of one interval of the run."""

    at_s: Annotated[int, Figure("Start", "Whole seconds after counting began.", "s")]
    length_s: Annotated[
        float, Figure("Length", "Seconds. The last may be shorter or longer than the others.", "s")
    ]
    succeeded: Annotated[int, Figure("Succeeded", "Requests that succeeded in it.", "requests")]
    failed: Annotated[int, Figure("Failed", "Requests that failed in it.", "requests")]
    bytes_received: Annotated[
        int, Figure("Bytes received", "Bytes of responses, headers included.", "bytes")
    ]
    service: Annotated[Latency, SERVICE]
    response: Annotated[Latency | None, RESPONSE]
    requested_per_sec: Annotated[
        float | None,
        Figure(
            "Requested rate",
            "Requests per second that the schedule asks for. Null without a schedule, with "
            "a scenario, and after its end.",
            "/s",
            key="asked_per_sec",
            after="pages_per_sec",
            later=True,
        ),
    ] = None

    @property
    @derived("Rate", "/s", after="bytes_received")
    def pages_per_sec(self) -> float:
        """Successful requests per second."""
        return self.succeeded / self.length_s if self.length_s else 0.0


@dataclass(frozen=True, slots=True)
class Silence:
    """The longest time in which no response came although one was expected."""

    from_s: Annotated[float, Figure("Start", "Seconds after counting began.", "s")]
    length_s: Annotated[float, Figure("Length", "Seconds.", "s", gate=Gate("silence"))]
    to_the_end: Annotated[bool, Figure("To the end", "Whether no response arrived after it.")]


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Requests without a response at the end that had waited longer than the slowest response.

    Their latency is unknown, but above that: they count in the latencies with their wait so far.
    """

    count: Annotated[int, Figure("Count", "How many such requests there were.", "requests")]
    longest_us: Annotated[
        int, Figure("Longest wait", "Microseconds. 0 if there was none.", "us", key="longest")
    ]

    @property
    @derived("Unit", after="")
    def unit(self) -> Literal["us"]:
        """The unit of `longest`: us, microseconds."""
        return "us"


@dataclass(frozen=True, slots=True)
class ClientUsage:
    """What abench itself used."""

    cpu: Annotated[
        tuple[float, ...],
        Figure(
            "CPU of each worker",
            "Share of one core that each worker used, a number for each worker. 1 is a whole core.",
            "cores",
            key="cpu_per_worker",
        ),
    ]
    lag: Annotated[
        Latency,
        Figure(
            "Event-loop lag", "How late the workers' event loops woke up.", "us", key="loop_lag"
        ),
    ]
    peak_rss: Annotated[
        int,
        Figure(
            "Peak memory",
            "Bytes of memory (RSS) of the largest worker at its peak.",
            "bytes",
            key="peak_rss_bytes",
        ),
    ]
    cpu_wait: Annotated[
        tuple[float, ...],
        Figure(
            "CPU wait of each worker",
            "Share of its time that each worker was ready to run and had no core, a number for "
            "each worker. Empty if the system does not tell.",
            "cores",
            key="cpu_wait_per_worker",
            after="cpu_per_worker",
            later=True,
        ),
    ] = ()

    @property
    def demand(self) -> tuple[float, ...]:
        """The share of a core that each worker used or waited for."""
        waits = self.cpu_wait or (0.0,) * len(self.cpu)
        return tuple(map(sum, zip(self.cpu, waits, strict=True)))


@dataclass(frozen=True, slots=True)
class ServerResult:
    """What the server used, measured from outside (`--server-pid`, `--server-cgroup`)."""

    cpu_s: Annotated[
        float,
        Figure(
            "CPU time",
            "Seconds of processor time, user and kernel mode, of all its processes.",
            "s",
        ),
    ]
    us_per_request: Annotated[
        float | None,
        Figure(
            "CPU time per request",
            "Microseconds. Null if there was no request.",
            "us",
            key="cpu_us_per_request",
        ),
    ]
    peak_rss: Annotated[
        int,
        Figure("Peak memory", "Bytes of memory (RSS) at the peak.", "bytes", key="peak_rss_bytes"),
    ]
    ended: Annotated[bool, Figure("Ended", "Whether the server's processes ended during the run.")]
    busiest_thread_s: Annotated[
        float | None,
        Figure(
            "Busiest thread",
            "Seconds in which the busiest of its threads ran, or was ready to run and had no core. "
            "Null if the system does not tell.",
            "s",
            later=True,
        ),
    ] = None
    busiest_thread_wait_s: Annotated[
        float | None,
        Figure(
            "Busiest thread without a core",
            "Those of `busiest_thread_s` in which it had no core. Null if the system does not "
            "tell.",
            "s",
            later=True,
        ),
    ] = None
    threads_in_storage: Annotated[
        float | None,
        Figure(
            "Threads in storage",
            "How many of its threads waited for storage on average: in an uninterruptible sleep, "
            "state D of ps. Null if the system does not tell.",
            "threads",
            later=True,
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class Warmup:
    """What was excluded before the clock started."""

    duration_s: Annotated[float, Figure("Duration", "Seconds.", "s")]
    requests: Annotated[int, Figure("Requests", "Requests of the warm-up.", "requests")]
    steady: Annotated[
        bool | None,
        Figure(
            "Settled",
            "Whether the rate had settled by its end. Null if it was not checked, because the "
            "warm-up had a fixed length.",
        ),
    ]


@dataclass(frozen=True, slots=True)
class Redirect:
    """Responses that redirect to another URL: a status of 3xx other than 304."""

    count: Annotated[int, Figure("Count", "How many responses were redirects.", "responses")]
    status: Annotated[
        int,
        Figure(
            "Status", "Status code of the first redirect.", schema={"minimum": 300, "maximum": 399}
        ),
    ]
    location: Annotated[
        str | None,
        Figure(
            "Location",
            "Location header of the first redirect, escaped and at most 200 characters. Null "
            "if it had none.",
            schema={"maxLength": 200},
        ),
    ]


@dataclass(frozen=True, slots=True)
class FailureSample:
    """The first failure of a kind and detail."""

    kind: Annotated[
        str,
        Figure(
            "Kind", "The kind of failure, as in `failures`.", schema={"enum": list(FAILURE_KINDS)}
        ),
    ]
    detail: Annotated[
        str | None,
        Figure(
            "Detail",
            "The status code, or the reason why a connection could not be opened. Null for "
            "other kinds.",
        ),
    ]
    message: Annotated[
        str,
        Figure(
            "Message",
            "What was received or reported, in one line: the status line, or the message of "
            "the parser, of TLS, of the proxy or of the system. Control characters are "
            "escaped.",
            schema={"maxLength": 200},
        ),
    ]
    at_s: Annotated[float, Figure("Time", "Seconds after counting began.", "s")]


@dataclass(frozen=True, slots=True)
class Threshold:
    """A condition of `--fail-if` and its outcome."""

    text: Annotated[str, Figure("Condition", "The condition as it was given.")]
    failed: Annotated[bool, Figure("Failed", "Whether the run failed by it.")]
    measured: Annotated[str, Figure("Measured", "What was measured, as text with its unit.")]
