"""How the figures of a report are derived from the counts of a run."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from abench.plan.plan import Plan
from abench.plan.schedule import ArrivalSchedule
from abench.stats.histogram import Histogram
from abench.stats.latency import Latency, latencies_with_waits, longer_waits
from abench.stats.parts import (
    ClientUsage,
    FailureSample,
    Redirect,
    Second,
    ServerResult,
    Silence,
    Unanswered,
    Warmup,
)
from abench.stats.samples import REDIRECT, is_redirect
from abench.stats.summary import REPORT_INTERVAL_S, Summary
from abench.system.server_monitor import ServerUsage


class Run(NamedTuple):
    """A run that has ended: what it was to do, and what was counted."""

    plan: Plan
    summary: Summary

    @property
    def duration_s(self) -> float:
        """How long it lasted, from the start of the clock."""
        return self.summary.elapsed_ns / 1e9


def redirect(run: Run) -> Redirect | None:
    """Return how many responses redirect, and the first of them."""
    summary = run.summary
    seen = {status: n for status, n in summary.status.items() if is_redirect(status) and n}
    if not seen:
        return None
    samples = (one for one in summary.samples if one.kind == REDIRECT)
    first = next(samples, None)
    if first is None:
        return Redirect(sum(seen.values()), min(seen), None)
    return Redirect(sum(seen.values()), int(first.detail), first.message or None)


def samples(run: Run) -> tuple[FailureSample, ...]:
    """Return the first failures of each kind."""
    return tuple(
        FailureSample(one.kind, one.detail or None, one.message, one.at_us / 1e6)
        for one in run.summary.samples
        if run.summary.failures[one.kind]
    )


def service(run: Run) -> Latency:
    """Return the distribution of the service times."""
    return Latency.of(latencies_with_waits(run.summary, "service"))


def response(run: Run) -> Latency | None:
    """Return the distribution of the response times, with a schedule."""
    return Latency.of(latencies_with_waits(run.summary, "response")) if run.plan.schedule else None


def waiting(run: Run) -> Unanswered:
    """Return the requests that waited longer at the end than any response took."""
    beyond = longer_waits(run.summary, "response" if run.plan.schedule else "service")
    return Unanswered(beyond.count, beyond.max_us)


def silence(run: Run) -> Silence | None:
    """Return the longest silence; a run without any response is silent as a whole."""
    summary = run.summary
    if not run.duration_s or (summary.succeeded and not summary.answering.spans):
        return None
    until_ms = summary.elapsed_ns // 1_000_000  # rounded like the ends of spans
    begin_ms, end_ms = summary.answering.longest_gap(until_ms)
    if not summary.answering.spans:
        return Silence(0.0, run.duration_s, to_the_end=True)
    return Silence(begin_ms / 1000, (end_ms - begin_ms) / 1000, begin_ms < end_ms == until_ms)


def paused(run: Run) -> float:
    """Return the average share of its time that a connection was paused."""
    whole_ns = run.plan.connections * run.duration_s * 1e9
    return min(1.0, run.summary.paused_ns / whole_ns) if whole_ns else 0.0


def series(run: Run) -> tuple[Second, ...]:
    """Return every interval of the run in order; the last one ends with the run."""
    return tuple(_seconds(run))


def _seconds(run: Run) -> Iterator[Second]:
    """Yield the intervals.

    Intervals without counts are included: an outage that was left out would be missing from every
    mean and invisible in a plot. The last interval begins half a report interval before the end
    or earlier, and so may be longer than the others by half a report interval.
    """
    counted, duration_s, schedule = run.summary.series, run.duration_s, run.plan.schedule
    due = None if run.plan.scenario else schedule  # iterations are due, and not requests
    last_s = int(max(duration_s - REPORT_INTERVAL_S / 2, max(counted.intervals, default=0)))
    counted.extend_to(last_s)
    for at_s in range(0, last_s + 1 if duration_s or counted.intervals else 0, counted.step_s):
        interval = counted.at(at_s)
        is_last = at_s + counted.step_s > last_s
        length_s = max(0.0, duration_s - at_s) if is_last else float(counted.step_s)
        yield Second(
            at_s=at_s,
            length_s=length_s,
            succeeded=interval.succeeded,
            failed=interval.failed,
            bytes_received=interval.bytes_received,
            service=Latency.of(interval.service),
            response=Latency.of(interval.response) if schedule else None,
            requested_per_sec=_requested_per_sec(due, at_s, length_s) if due else None,
        )


def _requested_per_sec(schedule: ArrivalSchedule, at_s: float, length_s: float) -> float | None:
    """Return the rate of a schedule in a part of a run; None after its end."""
    due = schedule.due(at_s + length_s) - schedule.due(at_s)
    has_ended = at_s >= schedule.length_s and not due
    return None if has_ended or not length_s else due / length_s


def client(run: Run) -> ClientUsage:
    """Return what the workers used."""
    costs, lag = run.summary.costs, Histogram()
    for cost in costs:
        lag.merge(cost.lag)
    cpu = tuple(cost.cpu_ns / cost.wall_ns if cost.wall_ns else 0.0 for cost in costs)
    waits = tuple(cost.waited_ns / cost.wall_ns if cost.wall_ns else 0.0 for cost in costs)
    peak = max((cost.peak_rss for cost in costs), default=0)
    return ClientUsage(cpu, Latency.of(lag), peak, waits)


def warmup(run: Run) -> Warmup | None:
    """Return what was excluded before the clock started."""
    if not run.plan.warms_up:
        return None
    steady = run.summary.steady if run.plan.warmup_auto else None
    return Warmup(run.summary.warmup_ns / 1e9, run.summary.warmup_requests, steady)


def server_result(usage: ServerUsage | None, summary: Summary) -> ServerResult | None:
    """Return what a monitored server used, in all and for each request that it got."""
    if usage is None:
        return None
    outcomes = summary.succeeded + summary.failed
    received = outcomes + summary.unfinished + summary.warmup_requests
    each = usage.cpu_s * 1e6 / received if received else None
    result = ServerResult(usage.cpu_s, each, usage.peak_rss, usage.ended)
    if usage.threads is None:
        return result
    return replace(
        result,
        busiest_thread_s=usage.threads.busiest_s,
        busiest_thread_wait_s=usage.threads.without_core_s,
        threads_in_storage=usage.threads.in_storage,
    )
