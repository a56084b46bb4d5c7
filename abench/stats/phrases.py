"""What reports say in sentences, wherever they are read."""

from collections.abc import Iterator, Sequence

from abench.stats.results import (
    ClientUsage,
    Redirect,
    Report,
    ScheduleResult,
    Silence,
    StageResult,
    Threshold,
    Warmup,
)
from abench.stats.units import count, decimal, duration, microseconds, plural, significant

SEPARATOR = "   "  # between figures on a line

MIN_HIDDEN_ERRORS = (
    0.001  # of all requests that errors may count as more, with nothing to say of it
)
STALL_US = 1_000_000  # by which a timer of a worker was late
MAX_START_SPREAD = (
    0.01  # of a run's length that its workers may start apart, with nothing to say of it
)
MAX_RATIO = (
    1.1  # times the p99 of service that the one of response may be, with nothing to say of it
)


def describe_target(report: Report) -> str:
    """Return what was asked: the URL, and the method unless it is GET."""
    plan = report.plan
    number = len(plan.targets) + report.urls_left_out
    if number > 1:
        return f"{count(number)} URLs of {plan.target.scheme}://{plan.target.authority}"
    return plan.target.url if plan.method == "GET" else f"{plan.method} {plan.target.url}"


def describe_load(report: Report) -> str:
    """Return how it was asked: for how long, and over what."""
    plan = report.plan
    connections, workers = plural(plan.connections, "connection"), plural(plan.processes, "worker")
    when = "open before the start" if plan.keep_alive else "at once, a new one for each request"
    text = f"{duration(report.duration_s)}, {workers}, {connections} {when}"
    return text if plan.pipeline == 1 else f"{text}, {plan.pipeline} requests under way on each"


def describe_schedule(paced: ScheduleResult) -> str:
    """Return what was due, and what became of it."""
    parts = [f"{decimal(paced.offered)}/sec offered", f"{decimal(paced.achieved)}/sec achieved"]
    if paced.requested is not None:
        parts.insert(0, f"{decimal(paced.requested)}/sec asked for")
    for number, what in ((paced.late, "late"), (paced.skipped, "skipped")):
        if number:
            parts.append(f"{count(number)} {what}")
    return SEPARATOR.join(parts)


STAGE_NAMES = ("offered/s", "achieved/s", "late", "failed", "p50", "p99")


def stage_rows(report: Report) -> Iterator[tuple[str, list[str]]]:
    """Yield each stage as it was given, and its figures by STAGE_NAMES; times are response times.

    A single stage is the whole run, of which all is said already.
    """
    for stage in report.stages if len(report.stages) > 1 else ():
        paced, times = stage.paced, stage.response
        rates = [decimal(rate) for rate in (paced.offered, paced.achieved)]
        late = f"{significant(100 * paced.late_share)} %"
        found = (times.percentiles["p50"], times.percentiles["p99"])
        yield stage.text, [*rates, late, count(stage.failed), *map(microseconds, found)]


def describe_late(paced: ScheduleResult, stages: Sequence[StageResult]) -> str:
    """Say what part of the requests started late, and of the stage in which most of them did.

    Where that part is smaller, a long stage has them for its length alone: it is not the reason.
    """
    text = f"{significant(100 * paced.late_share)} % of requests started late"
    worst = max(stages, key=lambda stage: stage.paced.late, default=None)
    if worst is None or len(stages) < 2 or worst.paced.late_share <= paced.late_share:
        return text
    return f"{text}, {significant(100 * worst.paced.late_share)} % in {worst.text}"


def describe_warmup(warmup: Warmup) -> str:
    """Return what was left out, and whether it was enough, where somebody looked."""
    left_out = f"{duration(warmup.duration_s)} with {plural(warmup.requests, 'request')} left out"
    if warmup.steady is None:
        return left_out
    return left_out + SEPARATOR + ("the rate had settled" if warmup.steady else "it never settled")


def describe_client(client: ClientUsage) -> str:
    """Return what abench itself took; of its workers, the busiest."""
    busiest, lag = max(client.cpu), client.lag.percentiles["p99"]
    return SEPARATOR.join(
        (f"{100 * busiest:.0f} % of a core at most", f"lag of its loop {microseconds(lag)} at p99")
    )


def describe_gap(report: Report) -> str:
    """Say what lies between service and response times; nothing in a closed loop."""
    service = report.service.percentiles["p99"]
    response = report.response.percentiles["p99"] if report.response else None
    if service is None or response is None:
        return ""
    text = "Service time counts from when a request was sent, response time from when it was due: "
    if response <= MAX_RATIO * service:
        return f"{text}hardly any waited."
    apart = microseconds(response - service)
    return f"{text}at p99 they are {apart} apart, a wait that a closed loop would not show."


def samples(report: Report) -> Iterator[tuple[str, str]]:
    """Yield what failed, and what the first of it said."""
    for sample in report.samples:
        what = f"{sample.kind} {sample.detail}".rstrip()
        yield what, f"first after {duration(sample.at_us / 1e6)}: {sample.message}"


def redirect(found: Redirect, responses: int) -> str:
    """Say how many responses were redirects, and where they lead to."""
    where = f"to {found.location}" if found.location else "without a Location"
    if found.count == responses:
        return (
            f"Every response is a redirect ({found.status}) {where}: "
            "it was measured, and not what it leads to."
        )
    number = f"{count(found.count)} of {count(responses)} responses are redirects"
    return f"{number}, the first ({found.status}) {where}."


def describe_silence(found: Silence) -> str:
    """Say when nothing was answered."""
    length, since = duration(found.length_s), duration(round(found.from_s, 2))
    if found.to_the_end:
        return f"The server stopped answering after {since}: nothing came for the last {length}."
    return f"Nothing was answered for {length}, from {since} on."


def _failures(report: Report) -> Iterator[str]:
    """Yield what counts of failures and of successes cannot show."""
    if report.redirect:
        yield redirect(report.redirect, sum(report.status.values()))
    if report.outage:
        yield describe_silence(report.outage)
    share = report.error_share or 0.0
    if report.total and share - report.failed / report.total > MIN_HIDDEN_ERRORS:
        paused, failed = 100 * report.paused, 100 * share
        yield (
            f"Connections that could not be opened were left closed for {paused:.0f} % of the "
            f"time, and nothing was asked: errors count as {failed:.0f} %."
        )
    if report.waiting.count:
        longest = microseconds(report.waiting.longest_us)
        number = plural(report.waiting.count, "request")
        yield (
            f"{number} had no answer at the end after up to {longest}, longer than any answer "
            "took: in the latencies with that wait."
        )


def _standstill(client: ClientUsage) -> Iterator[str]:
    longest = client.lag.max or 0
    if longest >= STALL_US:
        yield (
            f"abench itself stood still for {microseconds(longest)}, stopped or without a "
            "processor: nothing was asked, and what was under way seems to have taken longer."
        )


def remarks(report: Report) -> Iterator[str]:
    """Yield what a reader must know to believe the figures."""
    plan = report.plan
    if plan.keep_alive and report.open_connections < plan.connections:
        short = f"{count(report.open_connections)} of {count(plan.connections)} connections"
        yield f"Only {short} could be opened before the start."
    if report.start_within_s > MAX_START_SPREAD * report.duration_s and plan.processes > 1:
        apart = duration(report.start_within_s)
        yield f"The workers may have started up to {apart} apart: that much of the run was partial."
    yield from _failures(report)
    if report.retried:
        again = plural(report.retried, "request")
        yield (
            f"The server closed kept connections without saying so: {again} asked again "
            "on a new one, once each, and timed from when first asked."
        )
    if report.gave_up:
        limit = duration(plan.timeout_s)
        yield f"Ended early: no connection could be opened for {limit}."
    if report.lost_workers:
        lost = plural(report.lost_workers, "worker")
        yield f"{lost} of {plan.processes} died; only what had been reported is counted."
    for fault in report.faults:
        yield f"abench failed: {fault}"
    yield from _standstill(report.client)
    if report.stopped_by:
        yield "Stopped by a signal before its end."


def describe_outcome(threshold: Threshold) -> tuple[str, str]:
    """Return a word that tells how a condition went, and the condition with what was measured."""
    word, came = ("FAILED", "came true") if threshold.failed else ("passed", "did not come true")
    return word, f"{threshold.text} {came}: {threshold.measured}"
