"""The results of a run: every figure of its report, declared once and derived from its counts.

To add a figure, add a field here (or in a part of the results) and count what it needs in
`summary.py`. The JSON document, its schema, the manual's table and `--fail-if` follow.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any

from abench.plan.plan import Plan
from abench.stats import derivation, replay_results
from abench.stats.derivation import Run
from abench.stats.difference import BaselineComparison
from abench.stats.environment import Environment
from abench.stats.figure import Figure, Gate, derived, documented, stored_figures
from abench.stats.group_results import BY_URL, UrlResult, url_results
from abench.stats.latency import RESPONSE, SERVICE, Latency
from abench.stats.nodes import Node
from abench.stats.parts import (
    TCP_COUNTERS,
    ClientUsage,
    FailureSample,
    Redirect,
    Second,
    ServerResult,
    Silence,
    Threshold,
    Unanswered,
    Warmup,
)
from abench.stats.phase_results import PhaseResults, phase_results
from abench.stats.planned import Planned
from abench.stats.replay_results import ReplayResult
from abench.stats.scenario_results import ScenarioResult, scenario_result
from abench.stats.schedule_results import RunSchedule, StageResult, schedule
from abench.stats.sizes import SIZES, Sizes, response_sizes
from abench.stats.summary import FAILURE_KINDS, FAILURES, Summary
from abench.stats.tls_results import TlsResult, tls_result
from abench.system.procfs import TcpCounters

NONE_WAITING = Unanswered(0, 0)
NO_PHASES = PhaseResults()


def known_failures(counted: dict[str, int]) -> dict[str, int]:
    """Return the count of every kind of failure, 0 included, and of no others."""
    return {kind: counted.get(kind, 0) for kind in FAILURE_KINDS}


@documented
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
        Environment | None,
        Figure("Environment", "How and where the run was made. Null if it is not known."),
    ] = None
    lost_workers: Annotated[
        int,
        Figure(
            "Workers lost",
            "Workers that died during the run. Only what they had reported is counted.",
            "processes",
            key="workers_lost",
            after="workers",
            of=lambda run: run.summary.lost,
        ),
    ]
    open_connections: Annotated[
        int,
        Figure(
            "Open connections",
            "Connections that were open when the clock started.",
            "connections",
            key="connections_standing",
            after="connections",
            of=lambda run: run.summary.open_connections,
        ),
    ]
    addresses: Annotated[
        dict[str, int],
        Figure(
            "Addresses",
            "Attempts to connect to each address of the host, those before the start included. "
            "Empty unless connections were spread over all of them.",
            "connections",
            later=True,
            of=lambda run: dict(sorted(run.summary.addresses.items())),
        ),
    ] = field(default_factory=dict)
    duration_s: Annotated[
        float,
        Figure(
            "Duration",
            "Seconds that were counted, without warm-up. All rates are per second of this time.",
            "s",
            of=lambda run: run.duration_s,
        ),
    ]
    start_within_s: Annotated[
        float,
        Figure(
            "Start spread",
            "Seconds: no two workers started further apart than this. It is the longest time "
            "from the order to start until a worker reported that it had it.",
            "s",
            later=True,
            of=lambda run: run.summary.start_within_ns / 1e9,
        ),
    ] = 0.0
    nodes: Annotated[
        tuple[Node, ...],
        Figure(
            "Nodes",
            "The nodes of a run over several machines. Empty if it was on one.",
            later=True,
            of=lambda run: tuple(run.summary.nodes),
        ),
    ] = ()
    stopped_by: Annotated[
        int | None,
        Figure(
            "Signal",
            "Number of the signal that ended the run early, such as 2 for SIGINT. Null if "
            "there was none.",
            key="stopped_by_signal",
            of=lambda run: run.summary.stopped_by or None,
        ),
    ]
    gave_up: Annotated[
        bool,
        Figure(
            "Gave up",
            "Whether the run ended early because no connection could be opened.",
            of=lambda run: run.summary.gave_up > 0,
        ),
    ]
    faults: Annotated[
        tuple[str, ...],
        Figure(
            "Internal errors",
            "What went wrong in abench itself, a line for each. Empty if nothing did.",
            of=lambda run: tuple(run.summary.faults),
        ),
    ]
    succeeded: Annotated[
        int,
        Figure(
            "Succeeded",
            "Requests whose response was complete, in time and as expected.",
            "requests",
            key="requests/succeeded",
            of=lambda run: run.summary.succeeded,
        ),
    ]
    failed: Annotated[
        int,
        Figure(
            "Failed",
            "Requests that failed; `failures` counts them by kind.",
            "requests",
            key="requests/failed",
            of=lambda run: run.summary.failed,
            gate=Gate("errors", of="total", share="error_share"),
        ),
    ]
    unfinished: Annotated[
        int,
        Figure(
            "Unfinished",
            "Requests without an outcome when the run ended. They are in none of the other counts.",
            "requests",
            key="requests/unfinished",
            of=lambda run: run.summary.unfinished,
            gate=Gate("unfinished", of="sent"),
        ),
    ]
    retried: Annotated[
        int,
        Figure(
            "Retried",
            "Requests that were sent again, once each, on a new connection, because a reused "
            "connection ended before the first byte of the response.",
            "requests",
            key="requests/retried",
            later=True,
            of=lambda run: run.summary.retried,
            gate=Gate("retried", of="total"),
        ),
    ] = 0
    followed: Annotated[
        int,
        Figure(
            "Redirects followed",
            "Redirects that were followed, which are no requests of their own: see `--follow`.",
            "redirects",
            key="requests/redirects_followed",
            later=True,
            of=lambda run: run.summary.followed,
        ),
    ] = 0
    silence: Annotated[
        Silence | None,
        Figure(
            "Longest silence",
            "The longest time in which no response arrived although one was expected. Null if "
            "it was not measured.",
            later=True,
            of=derivation.silence,
        ),
    ] = None
    paused: Annotated[
        float,
        Figure(
            "Paused share",
            "Share of the time, from 0 to 1, that a connection stayed closed on average, "
            "because an attempt to open it had failed and the next was not yet due.",
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
            "Still waiting",
            "Requests without a response at the end that had waited longer than the slowest "
            "response took. With that wait they count in `latency` and `histograms`, but not "
            "in `series`.",
            later=True,
            of=derivation.waiting,
        ),
    ] = NONE_WAITING
    failures: Annotated[
        dict[str, int],
        Figure(
            "Failures",
            "Failed requests by kind; every kind is present.",
            "requests",
            of=lambda run: known_failures(run.summary.failures),
            read=known_failures,
            gate=Gate("stale", of="total", item="stale"),
            items=FAILURES,
            schema={"required": [kind for kind in FAILURE_KINDS if kind != "tls"]},  # as early ones
        ),
    ]
    reasons: Annotated[
        dict[str, int],
        Figure(
            "Connection errors",
            "Why connections could not be opened, with counts: the message of the system, of "
            "TLS or of the proxy, or timeout if there was none.",
            "connections",
            of=lambda run: dict(run.summary.reasons),
        ),
    ]
    samples: Annotated[
        tuple[FailureSample, ...],
        Figure(
            "Examples of failures",
            "The first failures of each kind, at most three of a kind, each with another `detail`.",
            key="failure_samples",
            later=True,
            of=derivation.samples,
        ),
    ] = ()
    redirect: Annotated[
        Redirect | None,
        Figure(
            "Redirects",
            "Responses with a 3xx status other than 304. Null if there was none.",
            later=True,
            of=derivation.redirect,
        ),
    ] = None
    status: Annotated[
        dict[int, int],
        Figure(
            "Status codes",
            "Responses by status code, successful and failed.",
            "responses",
            of=lambda run: dict(sorted(run.summary.status.items())),
        ),
    ]
    bytes_received: Annotated[
        int,
        Figure(
            "Bytes received",
            "Bytes of responses, headers included.",
            "bytes",
            of=lambda run: run.summary.bytes_received,
        ),
    ]
    bytes_sent: Annotated[
        int,
        Figure(
            "Bytes sent",
            "Bytes of the requests that were answered, headers included.",
            "bytes",
            later=True,
            of=lambda run: run.summary.bytes_sent,
        ),
    ] = 0
    sizes: Annotated[Sizes | None, SIZES._replace(of=response_sizes)] = None
    service: Annotated[Latency, SERVICE._replace(of=derivation.service)]
    response: Annotated[Latency | None, RESPONSE._replace(of=derivation.response)]
    phases: Annotated[
        PhaseResults,
        Figure(
            "Phases",
            "Where the time went: how long each phase took, of those that happened.",
            later=True,
            of=phase_results,
        ),
    ] = NO_PHASES
    tls: Annotated[
        TlsResult | None,
        Figure(
            "TLS",
            "What TLS was spoken, and how many handshakes were made. Null for http://.",
            later=True,
            of=tls_result,
        ),
    ] = None
    schedule: Annotated[
        RunSchedule | None,
        Figure(
            "Schedule",
            "When requests were due, and how well that was met. Null in a closed loop. If "
            "`rate` and `stages` are both null, a log was replayed. With a scenario, what is due, "
            "here and in `stages`, is an iteration.",
            of=schedule,
        ),
    ]
    replay: Annotated[
        ReplayResult | None,
        Figure(
            "Replay",
            "The log that was replayed, and what of it was not. Null without one.",
            later=True,
            of=replay_results.replay,
        ),
    ] = None
    by_url: Annotated[tuple[UrlResult, ...], BY_URL._replace(of=url_results)] = ()
    scenario: Annotated[
        ScenarioResult | None,
        Figure(
            "Scenario",
            "How the users of `abench run` fared. Null for a run without a scenario.",
            later=True,
            of=scenario_result,
        ),
    ] = None
    warmup: Annotated[
        Warmup | None,
        Figure(
            "Warm-up",
            "What ran before counting began, and is not counted. Null without a warm-up.",
            of=derivation.warmup,
        ),
    ]
    client: Annotated[
        ClientUsage, Figure("Client", "What abench itself used.", of=derivation.client)
    ]
    server: Annotated[
        ServerResult | None,
        Figure(
            "Server",
            "What the server's processes used, as `--server-pid` or `--server-cgroup` watched "
            "them. Null without these options.",
        ),
    ] = None
    kernel: Annotated[
        TcpCounters | None,
        Figure(
            "TCP counters",
            "Counters of the whole machine, counted over the run. Null if the system does not have "
            "them.",
            items=TCP_COUNTERS,
        ),
    ] = None
    is_local: Annotated[
        bool | None,
        Figure(
            "Same machine",
            "Whether the server is on this machine. Null if that is not known, as with a proxy.",
            key="same_host",
        ),
    ] = False
    shares_cores: Annotated[
        bool | None,
        Figure(
            "Same cores",
            "Whether the server may run on the cores that abench uses. Null if that is not known.",
            key="same_cores",
            later=True,
        ),
    ] = None
    thresholds: Annotated[
        tuple[Threshold, ...],
        Figure("Thresholds", "The conditions of `--fail-if`, in their order. Empty without any."),
    ] = ()
    baseline: Annotated[
        BaselineComparison | None,
        Figure(
            "Baseline",
            "How the run differs from those of `--baseline`. Null without it.",
            later=True,
        ),
    ] = None
    series: Annotated[
        tuple[Second, ...],
        Figure(
            "Time series",
            "The run second by second, seconds without a response included. In runs of more "
            "than ten minutes the steps are longer.",
            of=derivation.series,
        ),
    ]

    @property
    @derived(after="environment", inline=True)
    def planned(self) -> Planned:
        """What a document has of the plan."""
        return Planned.of(self.plan, self.body_bytes, self.urls_left_out)

    @property
    @derived("With an outcome", "requests", key="requests/total", after="faults")
    def total(self) -> int:
        """Requests that succeeded or failed."""
        return self.succeeded + self.failed

    @property
    def sent(self) -> int:
        """Requests with or without an outcome."""
        return self.total + self.unfinished

    @property
    @derived(
        "Error share",
        "share",
        "Failed requests as a share of those with an outcome, from 0 to 1. In a closed loop, time "
        "in which connections stayed closed after a failed attempt counts as failed requests. Null "
        "if no request has an outcome.",
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
        "Rate",
        "/s",
        after="status",
        gate=Gate("pages", measured="duration_s"),
        compared=("pages/sec",),
        more_is_better=True,
    )
    def pages_per_sec(self) -> float:
        """Successful requests per second."""
        return self._per_second(self.succeeded)

    @property
    @derived("Rate per minute", "/min", after="pages_per_sec")
    def pages_per_min(self) -> float:
        """Successful requests per minute, as webbench reports it."""
        return 60 * self.pages_per_sec

    @property
    @derived("Throughput", "bytes/s", after="pages_per_min")
    def bytes_per_sec(self) -> float:
        """Bytes of responses per second, headers included."""
        return self._per_second(self.bytes_received)

    @property
    def sent_bytes_per_sec(self) -> float:
        """Bytes of answered requests per second, headers included."""
        return self._per_second(self.bytes_sent)

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


def distributions(results: Results) -> dict[str, Latency]:
    """Return the latencies of the whole run that a report shows, by name."""
    found = {"service": results.service, "response": results.response}
    return {name: latency for name, latency in found.items() if latency}


def main_latency(results: Results) -> tuple[str, Latency]:
    """Return the distribution that users see, by name: response times, if there are any."""
    return ("response", results.response) if results.response else ("service", results.service)


def build_results(plan: Plan, summary: Summary) -> Results:
    """Return the results of a run of `plan` with the counts `summary`."""
    run = Run(plan, summary)
    figures: dict[str, Any] = {
        name: figure.of(run) for name, _, figure in stored_figures(Results) if figure.of
    }
    return Results(plan=plan, summary=summary, body_bytes=len(plan.body), **figures)
