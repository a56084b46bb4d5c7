"""A run as metrics of a time series database: what Prometheus and OpenTelemetry get alike.

Names and units are OpenTelemetry's. Prometheus has `abench_latency_seconds` of `latency` with the
unit `s`, which is how OpenTelemetry's specification of compatibility with Prometheus, and so
Prometheus' own OTLP receiver, translate it: dashboards are the same for both.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise

from abench.stats.histogram import Histogram
from abench.stats.latency import PERCENTILES, latencies_with_waits
from abench.stats.plan_differences import stable_target
from abench.stats.results import Results
from abench.stats.run_outcome import describe_incident

Labels = Mapping[str, str]

BOUNDS_S = tuple(float(f"{digit}e{power}") for power in range(-4, 2) for digit in (1, 2, 5))
"""Upper bounds of buckets, from 100 us to 50 s: the same for every run, so that runs add up."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """Values of one kind, each with its labels."""

    name: str
    text: str
    unit: str
    values: tuple[tuple[Labels, float], ...]


@dataclass(frozen=True, slots=True)
class Distribution:
    """A latency distribution in seconds; `counts` has one more than the bounds, above the last."""

    labels: Labels
    counts: tuple[int, ...]
    count: int
    sum_s: float
    min_s: float
    max_s: float


LATENCY = ("latency", "Latencies of successful requests.", "s")
"""Name, text and unit of the distributions."""


def gauges(report: Results) -> Iterator[Gauge]:
    """Yield the figures of a run, all with the label `target`."""
    target = {"target": stable_target(report)}

    def gauge(name: str, text: str, unit: str, *values: tuple[Labels, float | None]) -> Gauge:
        known = tuple(({**target, **labels}, one) for labels, one in values if one is not None)
        return Gauge(name, text, unit, known)

    yield gauge("duration", "Time that was counted.", "s", ({}, report.duration_s))
    yield gauge("pages", "Successes per second.", "{page}/s", ({}, report.pages_per_sec))
    yield gauge("received", "Bytes of responses per second.", "By/s", ({}, report.bytes_per_sec))
    yield gauge(
        "requests",
        "Requests by outcome.",
        "{request}",
        ({"outcome": "succeeded"}, report.succeeded),
        ({"outcome": "failed"}, report.failed),
        ({"outcome": "unfinished"}, report.unfinished),
    )
    kinds = ({"kind": kind} for kind in report.failures)
    yield gauge(
        "failures",
        "Failed requests by kind.",
        "{request}",
        *zip(kinds, report.failures.values(), strict=True),
    )
    statuses = ({"status": str(status)} for status in report.status)
    yield gauge(
        "responses",
        "Responses by status code.",
        "{response}",
        *zip(statuses, report.status.values(), strict=True),
    )
    yield gauge("errors", "Share of requests that failed.", "1", ({}, report.error_share))
    if report.schedule:
        offered, achieved = report.schedule.offered, report.schedule.achieved
        text = "Requests per second of the schedule: offered, and achieved."
        values = ({"rate": "offered"}, offered), ({"rate": "achieved"}, achieved)
        yield gauge("schedule", text, "{request}/s", *values)
    yield gauge("latency_quantile", "Percentiles of the latencies.", "s", *_quantiles(report))
    failed = (({"condition": one.text}, float(one.failed)) for one in report.thresholds)
    yield gauge("condition_failed", "1 if a condition has failed, else 0.", "{state}", *failed)
    completed = float(not describe_incident(report))
    yield gauge("completed", "1 if the run went as planned, else 0.", "{state}", ({}, completed))


def _quantiles(report: Results) -> Iterator[tuple[Labels, float | None]]:
    for which, histogram in _latencies(report):
        found = histogram.percentiles(PERCENTILES.values())
        for percent, us in found.items():
            labels = {"distribution": which, "quantile": f"{percent / 100:.6g}"}
            yield labels, None if us is None else us / 1e6


def distributions(report: Results) -> Iterator[Distribution]:
    """Yield the latency distributions of a run."""
    target = stable_target(report)
    for which, histogram in _latencies(report):
        labels = {"target": target, "distribution": which}
        sum_s, max_s = histogram.total_us / 1e6, histogram.max_us / 1e6
        min_s = (histogram.min or 0) / 1e6
        counts = _bucket_counts(histogram)
        yield Distribution(labels, counts, histogram.count, sum_s, min_s, max_s)


def _latencies(report: Results) -> Iterator[tuple[str, Histogram]]:
    for which in ("service", "response") if report.response else ("service",):
        yield which, latencies_with_waits(report.summary, which)


def _bucket_counts(histogram: Histogram) -> tuple[int, ...]:
    """Return how many values lie between each bound and the one before it."""
    spectrum = histogram.spectrum()
    tops = [top for _, top, _ in spectrum]
    up_to = [0, *accumulate(number for *_, number in spectrum)]
    reached = [up_to[bisect_right(tops, bound * 1e6)] for bound in BOUNDS_S]
    ends = [0, *reached, histogram.count]
    return tuple(end - begin for begin, end in pairwise(ends))
