"""The sentences of a report, shared by all of its forms."""

from collections.abc import Iterator, Sequence

from abench.stats import replay_results
from abench.stats.nodes import describe_losses, describe_nodes
from abench.stats.parts import (
    ClientUsage,
    Redirect,
    Silence,
    Threshold,
    Warmup,
)
from abench.stats.planned_behavior import describe_behavior
from abench.stats.results import Results
from abench.stats.schedule_results import RunSchedule, ScheduleResult, StageResult
from abench.stats.sizes import Sizes
from abench.stats.tls_results import TlsResult
from abench.stats.units import (
    byte_size,
    count,
    decimal,
    duration,
    microseconds,
    plural,
    significant,
)

SEPARATOR = "   "  # between figures on a line

MIN_HIDDEN_ERRORS = 0.001  # share of requests: pauses that add fewer errors are not mentioned
STALL_US = 1_000_000  # event-loop lag beyond which a worker counts as stalled
MAX_START_SPREAD = 0.01  # share of the run: workers that start closer together are not mentioned
MAX_RATIO = 1.1  # of the p99 of response and service times: below it they hardly differ


def describe_target(report: Results) -> str:
    """Return what was requested: the URL, and the method unless it is GET."""
    plan = report.plan
    if report.scenario:
        return f"{report.scenario.file} on {plan.target.scheme}://{plan.target.authority}"
    number = len(plan.targets) + report.urls_left_out
    if number > 1:
        return f"{count(number)} URLs of {plan.target.scheme}://{plan.target.authority}"
    return plan.target.url if plan.method == "GET" else f"{plan.method} {plan.target.url}"


def describe_load(report: Results) -> str:
    """Return how the server was loaded: for how long, and over which connections."""
    plan = report.plan
    connections, workers = plural(plan.connections, "connection"), plural(plan.processes, "worker")
    when = "open before the start" if plan.keep_alive else "at once, a new one for each request"
    parts = [duration(report.duration_s), workers, f"{connections} {when}"]
    if plan.pipeline > 1:
        parts.append(f"{plan.pipeline} requests in flight on each")
    if expected := plan.expect.words():
        parts.append(f"expecting {' or '.join(expected)}")
    parts.extend(describe_behavior(plan, report.followed, report.addresses))
    return ", ".join(parts)


def describe_tls(tls: TlsResult) -> str:
    """Return the version, the cipher and the certificate, of a run with a handshake."""
    parts = [tls.version or "", tls.cipher or ""]
    if found := tls.certificate:
        parts.append(f"certificate of {found.subject} by {found.issuer}")
        parts.append(f"valid until {found.expires_at[:10]}")
    elif not tls.verified:
        parts.append("certificate not verified")
    return ", ".join(parts)


def describe_handshakes(tls: TlsResult) -> str:
    """Return how many handshakes the run made, by kind."""
    full, resumed = count(tls.full_handshakes), count(tls.resumed_handshakes)
    return f"{full} full{SEPARATOR}{resumed} resumed"


def describe_traffic(report: Results) -> str:
    """Return what was received, and what was sent if requests had bodies."""
    text = f"{byte_size(report.bytes_per_sec)}/sec   {byte_size(report.bytes_received)} received"
    if not report.body_bytes:
        return text
    sent = f"{byte_size(report.sent_bytes_per_sec)}/sec   {byte_size(report.bytes_sent)} sent"
    return f"{text}{SEPARATOR}{sent}"


def transfers(report: Results) -> Iterator[tuple[str, str]]:
    """Yield what went over the network, and what it took to begin with that, as name and text."""
    yield "traffic", describe_traffic(report)
    if report.sizes:
        yield "sizes", describe_sizes(report.sizes)
    if lookup := report.phases.lookup:
        longest = microseconds(lookup.latency.max)
        nodes = "" if lookup.count == 1 else f" at most, on {lookup.count} nodes"
        yield "lookup", f"{longest}{nodes}, before the run"
    if report.tls and report.tls.handshakes:
        yield "handshakes", describe_handshakes(report.tls)


def describe_sizes(sizes: Sizes) -> str:
    """Return the sizes of responses, or the one that all have."""
    if sizes.min == sizes.max:
        return f"{byte_size(sizes.max)} each"
    names = ("min", *sizes.percentiles, "max")
    values = (sizes.min, *sizes.percentiles.values(), sizes.max)
    parts = (f"{name} {byte_size(value)}" for name, value in zip(names, values, strict=True))
    return SEPARATOR.join(parts)


def describe_schedule(schedule: RunSchedule) -> str:
    """Return the rates of a schedule, and how many requests were late or skipped."""
    parts = [
        f"{decimal(schedule.offered)}/sec offered",
        f"{decimal(schedule.achieved)}/sec achieved",
    ]
    if schedule.requested is not None:
        parts.insert(0, f"{decimal(schedule.requested)}/sec requested")
    for number, what in ((schedule.late, "late"), (schedule.skipped, "skipped")):
        if number:
            parts.append(f"{count(number)} {what}")
    return SEPARATOR.join(parts)


def describe_late(schedule: ScheduleResult, stages: Sequence[StageResult]) -> str:
    """Return the share of requests that started late, and that of the stage with most of them.

    Where the stage's share is not larger, it has most late requests only because it is long.
    """
    text = f"{significant(100 * schedule.late_share)} % of requests started late"
    worst = max(stages, key=lambda stage: stage.schedule.late, default=None)
    if worst is None or len(stages) < 2 or worst.schedule.late_share <= schedule.late_share:
        return text
    return f"{text}, {significant(100 * worst.schedule.late_share)} % in {worst.text}"


def describe_warmup(warmup: Warmup) -> str:
    """Return what was excluded, and whether the rate had settled, if that was checked."""
    excluded = f"{duration(warmup.duration_s)} with {plural(warmup.requests, 'request')} excluded"
    if warmup.steady is None:
        return excluded
    return (
        excluded
        + SEPARATOR
        + ("the rate had settled" if warmup.steady else "the rate never settled")
    )


def describe_client(client: ClientUsage) -> str:
    """Return the load of the busiest worker of abench, and its event-loop lag."""
    busiest, lag = max(client.cpu), client.lag.percentiles["p99"]
    return SEPARATOR.join(
        (
            f"busiest worker {100 * busiest:.0f} % of a core",
            f"event-loop lag {microseconds(lag)} at p99",
        )
    )


def describe_own(report: Results) -> Iterator[tuple[str, str]]:
    """Say what abench itself used, and where it ran: titles and texts."""
    if report.client.cpu:
        yield "client", describe_client(report.client)
    if report.nodes:
        yield "nodes", describe_nodes(report.nodes)


def describe_gap(report: Results) -> str:
    """Return how service and response times differ; empty in a closed loop."""
    service = report.service.percentiles["p99"]
    response = report.response.percentiles["p99"] if report.response else None
    if service is None or response is None:
        return ""
    text = "Service time starts when a request is sent, response time when it is due: "
    if response <= MAX_RATIO * service:
        return f"{text}they hardly differ."
    apart = microseconds(response - service)
    return f"{text}at p99 they differ by {apart}, a wait that a closed loop does not show."


def describe_samples(report: Results) -> Iterator[tuple[str, str]]:
    """Yield what failed, and the message of its first failure."""
    for sample in report.samples:
        what = f"{sample.kind} {sample.detail or ''}".rstrip()
        yield what, f"first after {duration(sample.at_s)}: {sample.message}"


def describe_redirect(found: Redirect, responses: int) -> str:
    """Return how many responses were redirects, and where they lead."""
    where = f"to {found.location}" if found.location else "without a Location"
    if found.count == responses:
        return (
            f"Every response is a redirect ({found.status}) {where}: "
            "the redirect was measured, not its target."
        )
    number = f"{count(found.count)} of {count(responses)} responses are redirects"
    return f"{number}, the first ({found.status}) {where}."


def describe_silence(found: Silence) -> str:
    """Return when no response came."""
    length, since = duration(found.length_s), duration(round(found.from_s, 2))
    if found.to_the_end:
        return (
            f"The server stopped responding after {since}: no response came in the last {length}."
        )
    return f"No response came for {length}, from {since} on."


def _failures(report: Results) -> Iterator[str]:
    """Yield what the counts of successes and failures do not show."""
    if report.redirect:
        yield describe_redirect(report.redirect, sum(report.status.values()))
    if report.outage:
        yield describe_silence(report.outage)
    share = report.error_share or 0.0
    if report.total and share - report.failed / report.total > MIN_HIDDEN_ERRORS:
        paused, failed = 100 * report.paused, 100 * share
        yield (
            f"Connections could not be opened and stayed closed for {paused:.0f} % of the time, "
            f"in which no request was sent: errors count as {failed:.0f} %."
        )
    if report.waiting.count:
        longest = microseconds(report.waiting.longest_us)
        number = plural(report.waiting.count, "request")
        yield (
            f"{number} had no response at the end after up to {longest}, longer than any response "
            "took: the latencies include these waits."
        )


def _stall(client: ClientUsage) -> Iterator[str]:
    longest = client.lag.max or 0
    if longest >= STALL_US:
        yield (
            f"abench itself stalled for {microseconds(longest)}, stopped or without a CPU: it sent "
            "nothing, and requests in flight appear slower than they were."
        )


def remarks(report: Results) -> Iterator[str]:
    """Yield what a reader must know to judge the results."""
    plan = report.plan
    if plan.keep_alive and report.open_connections < plan.connections:
        short = f"{count(report.open_connections)} of {count(plan.connections)} connections"
        yield f"Only {short} could be opened before the start."
    if report.start_within_s > MAX_START_SPREAD * report.duration_s and plan.processes > 1:
        apart = duration(report.start_within_s)
        yield f"The workers may have started up to {apart} apart: until then, the load was partial."
    yield from replay_results.remarks(report.replay)
    yield from _failures(report)
    if report.retried:
        again = plural(report.retried, "request")
        yield (
            f"The server closed keep-alive connections without notice: {again} retried once on a "
            "new connection, timed from the first attempt."
        )
    if report.gave_up:
        limit = duration(plan.timeout_s)
        yield f"Ended early: no connection could be opened for {limit}."
    yield from describe_losses(report.nodes)
    if died := report.lost_workers - sum(node.lost is not None for node in report.nodes):
        lost = plural(died, "worker")
        yield f"{lost} of {plan.processes} died: only what had been reported is counted."
    for fault in report.faults:
        yield f"abench failed: {fault}"
    yield from _stall(report.client)
    if report.stopped_by:
        yield "Stopped by a signal before the planned end."


def describe_outcome(threshold: Threshold) -> tuple[str, str]:
    """Return FAILED or passed, and the condition with its measured value."""
    word, outcome = ("FAILED", "is true") if threshold.failed else ("passed", "is false")
    if threshold.measured == "-":
        return word, f"{threshold.text} could not be measured"
    return word, f"{threshold.text} {outcome}: {threshold.measured}"
