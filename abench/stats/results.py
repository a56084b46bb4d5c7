"""The results of a run: every figure of its report, declared once and derived from its counts.

To add a figure, add a field here (or in a part of the results) and count what it needs in
`summary.py`. The JSON document, its schema, the manual's table and `--fail-if` follow.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any

from abench.plan.plan import Plan
from abench.stats import derivation
from abench.stats.derivation import Run, latencies_with_waits
from abench.stats.environment import Environment
from abench.stats.figure import Figure, Gate, derived, stored_figures
from abench.stats.parts import (
    ClientUsage,
    FailureSample,
    Latency,
    Redirect,
    RunSchedule,
    Second,
    ServerResult,
    Silence,
    StageResult,
    Threshold,
    Unanswered,
    Warmup,
)
from abench.stats.planned import Planned
from abench.stats.schedule_results import schedule
from abench.stats.summary import FAILURE_KINDS, Summary
from abench.system.procfs import TcpCounters

__all__ = ["Results", "build_results", "latencies_with_waits"]

NONE_WAITING = Unanswered(0, 0)


def known_failures(counted: dict[str, int]) -> dict[str, int]:
    """Return the count of every kind of failure, 0 included, and of no others."""
    return {kind: counted.get(kind, 0) for kind in FAILURE_KINDS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The results of a run. Rates count successes only, per second from the first request on.

    The annotation of each field says what it is, its unit, and its key in the JSON document.
    """

    plan: Plan
    summary: Summary = field(repr=False, compare=False)
    body_bytes: int = 0  # sent with each request; a plan that was read from a file has no body
    urls_left_out: int = 0  # of a saved report, which lists a limited number

    environment: Annotated[
        Environment | None, Figure("How the run was made; null if that is not known.")
    ] = None
    lost_workers: Annotated[
        int,
        Figure(
            "Workers that died; only what they had reported is counted.",
            "processes",
            key="workers_lost",
            after="workers",
            of=lambda run: run.summary.lost,
        ),
    ]
    open_connections: Annotated[
        int,
        Figure(
            "Connections that were open when the clock started.",
            "connections",
            key="connections_standing",
            after="connections",
            of=lambda run: run.summary.open_connections,
        ),
    ]
    duration_s: Annotated[
        float, Figure("How long the run lasted.", "s", of=lambda run: run.duration_s)
    ]
    start_within_s: Annotated[
        float,
        Figure(
            "No two workers started further apart than this.",
            "s",
            later=True,
            of=lambda run: run.summary.start_within_ns / 1e9,
        ),
    ] = 0.0
    stopped_by: Annotated[
        int | None,
        Figure(
            "The signal that ended the run early; null if none did.",
            key="stopped_by_signal",
            of=lambda run: run.summary.stopped_by or None,
        ),
    ]
    gave_up: Annotated[
        bool,
        Figure(
            "Whether the run ended early because no connection could be opened.",
            of=lambda run: run.summary.gave_up > 0,
        ),
    ]
    faults: Annotated[
        tuple[str, ...],
        Figure("What went wrong in abench itself.", of=lambda run: tuple(run.summary.faults)),
    ]
    succeeded: Annotated[
        int,
        Figure(
            "Requests with the expected response, complete and in time.",
            "requests",
            key="requests/succeeded",
            of=lambda run: run.summary.succeeded,
        ),
    ]
    failed: Annotated[
        int,
        Figure(
            "Requests with any other outcome.",
            "requests",
            key="requests/failed",
            of=lambda run: run.summary.failed,
            gate=Gate("errors", of="total", share="error_share"),
        ),
    ]
    unfinished: Annotated[
        int,
        Figure(
            "Requests without an outcome at the end; they are in none of the others.",
            "requests",
            key="requests/unfinished",
            of=lambda run: run.summary.unfinished,
            gate=Gate("unfinished", of="sent"),
        ),
    ]
    retried: Annotated[
        int,
        Figure(
            "Requests that were sent again on a new connection, once each, because a keep-alive "
            "connection had been closed before a byte of the response came.",
            "requests",
            key="requests/retried",
            later=True,
            of=lambda run: run.summary.retried,
            gate=Gate("retried", of="total"),
        ),
    ] = 0
    silence: Annotated[
        Silence | None,
        Figure(
            "The longest time in which no response came although one was expected; null if it was "
            "not measured.",
            later=True,
            of=derivation.silence,
        ),
    ] = None
    paused: Annotated[
        float,
        Figure(
            "The share of its time that a connection stayed closed on average, because it could not"
            " be opened and the next attempt was not due. No request is sent in that time, and so "
            "none fails.",
            "share",
            key="paused_share",
            later=True,
            of=derivation.paused,
            schema={"maximum": 1},
        ),
    ] = 0.0
    waiting: Annotated[
        Unanswered,
        Figure(
            "Requests without a response at the end that had waited longer than the slowest "
            "response took. They count in the latencies of the run with that wait, and in no "
            "second.",
            later=True,
            of=derivation.waiting,
        ),
    ] = NONE_WAITING
    failures: Annotated[
        dict[str, int],
        Figure(
            "Failed requests by kind, 0 included.",
            "requests",
            of=lambda run: known_failures(run.summary.failures),
            read=known_failures,
            gate=Gate("stale", of="total", item="stale"),
            schema={"required": list(FAILURE_KINDS)},
        ),
    ]
    reasons: Annotated[
        dict[str, int],
        Figure(
            "Connections that failed to open, by the name of the error of the system, of TLS or of "
            "the proxy.",
            "connections",
            of=lambda run: dict(run.summary.reasons),
        ),
    ]
    samples: Annotated[
        tuple[FailureSample, ...],
        Figure(
            "The first failures: at most three of a kind, with different details.",
            key="failure_samples",
            later=True,
            of=derivation.samples,
        ),
    ] = ()
    redirect: Annotated[
        Redirect | None,
        Figure(
            "Responses that redirect to another URL: 3xx except 304; null if there were none.",
            later=True,
            of=derivation.redirect,
        ),
    ] = None
    status: Annotated[
        dict[int, int],
        Figure(
            "Responses by status code.",
            "responses",
            of=lambda run: dict(sorted(run.summary.status.items())),
        ),
    ]
    bytes_received: Annotated[
        int,
        Figure(
            "Bytes of responses, headers included.",
            "bytes",
            of=lambda run: run.summary.bytes_received,
        ),
    ]
    service: Annotated[
        Latency,
        Figure(
            "Service times: from sending a request, or opening a connection for it, to the last "
            "byte of its response; successes, and the longer waits at the end.",
            "us",
            key="latency/service",
            of=derivation.service,
        ),
    ]
    response: Annotated[
        Latency | None,
        Figure(
            "Response times: the same from when requests were due by the schedule; null in a "
            "closed loop.",
            "us",
            key="latency/response",
            of=derivation.response,
        ),
    ]
    schedule: Annotated[
        RunSchedule | None,
        Figure(
            "How well the schedule was met; null in a closed loop. Without a rate and stages, the "
            "schedule is that of a replayed log.",
            of=schedule,
        ),
    ]
    warmup: Annotated[
        Warmup | None,
        Figure(
            "What was excluded before the clock started; null without a warm-up.",
            of=derivation.warmup,
        ),
    ]
    client: Annotated[ClientUsage, Figure("What abench itself used.", of=derivation.client)]
    server: Annotated[
        ServerResult | None,
        Figure("What the server used (`--server-pid`, `--server-cgroup`); null if unknown."),
    ] = None
    kernel: Annotated[
        TcpCounters | None,
        Figure("TCP counters of the whole machine over the run; null if unknown."),
    ] = None
    is_local: Annotated[
        bool | None,
        Figure(
            "Whether the server is on this machine; null if a proxy is between them.",
            key="same_host",
        ),
    ] = False
    shares_cores: Annotated[
        bool | None,
        Figure(
            "Whether the server may run on the cores of this client; null if unknown.",
            key="same_cores",
            later=True,
        ),
    ] = None
    thresholds: Annotated[
        tuple[Threshold, ...], Figure("The conditions of `--fail-if`, with their outcomes.")
    ] = ()
    series: Annotated[
        tuple[Second, ...],
        Figure(
            "Second by second; in longer steps for runs of more than ten minutes.",
            of=derivation.series,
        ),
    ]

    @property
    @derived(after="environment", inline=True)
    def planned(self) -> Planned:
        """What a document has of the plan."""
        return Planned.of(self.plan, self.body_bytes, self.urls_left_out)

    @property
    @derived("requests", key="requests/total", after="faults")
    def total(self) -> int:
        """Requests with an outcome."""
        return self.succeeded + self.failed

    @property
    def sent(self) -> int:
        """Requests with or without an outcome."""
        return self.total + self.unfinished

    @property
    @derived(
        "share",
        key="requests/error_share",
        after="requests/retried",
        later=True,
        schema={"maximum": 1},
    )
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
    @derived(
        "/s",
        after="status",
        gate=Gate("pages", measured="duration_s"),
        compared=("pages/sec",),
        more_is_better=True,
    )
    def pages_per_sec(self) -> float:
        """Successes per second."""
        return self._per_second(self.succeeded)

    @property
    @derived("/min", after="pages_per_sec")
    def pages_per_min(self) -> float:
        """Successes per minute, as webbench reports them."""
        return 60 * self.pages_per_sec

    @property
    @derived("bytes/s", after="pages_per_min")
    def bytes_per_sec(self) -> float:
        """Bytes of responses per second, headers included."""
        return self._per_second(self.bytes_received)

    @property
    def stages(self) -> tuple[StageResult, ...]:
        """The results of each stage that the run reached."""
        return self.schedule.by_stage if self.schedule else ()

    @property
    def server_us_per_request(self) -> float | None:
        """CPU time of the server per request, in microseconds."""
        return self.server.us_per_request if self.server else None

    def _per_second(self, count: int) -> float:
        return count / self.duration_s if self.duration_s else 0.0


def build_results(plan: Plan, summary: Summary) -> Results:
    """Return the results of a run of `plan` with the counts `summary`."""
    run = Run(plan, summary)
    figures: dict[str, Any] = {
        name: figure.of(run) for name, _, figure in stored_figures(Results) if figure.of
    }
    return Results(plan=plan, summary=summary, body_bytes=len(plan.body), **figures)
