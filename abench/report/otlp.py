"""Sends the report to a collector of OpenTelemetry by OTLP over HTTP, by its own exporter.

The exporter takes headers, certificates, compression and its timeout from the variables that
OpenTelemetry specifies (OTEL_EXPORTER_OTLP_HEADERS and others), and tries again until the timeout.
"""

import logging
import time
from collections.abc import Iterator
from datetime import datetime
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.metrics.export import Gauge as GaugePoints
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from abench.report.metrics import BOUNDS_S, LATENCY, Gauge, distributions, gauges
from abench.stats.results import Results
from abench.version import abench_version

DEFAULT_PATH = "/v1/metrics"  # OTLP specification, "OTLP/HTTP Request"


def send_otlp(report: Results, url: str) -> None:
    """Send `report` to the collector at `url`; raises OSError with the reason if it fails.

    Without a path in the URL it is that of OTLP for metrics.
    """
    path = urlsplit(url).path
    endpoint = url.rstrip("/") + DEFAULT_PATH if path in {"", "/"} else url
    problems = _Problems()
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(problems)
    logger.propagate = False  # it would print what is raised here
    exporter = OTLPMetricExporter(endpoint=endpoint)
    try:
        sent = exporter.export(_metrics_data(report))
    finally:
        exporter.shutdown()
        logger.removeHandler(problems)
        logger.propagate = True
    if sent is not MetricExportResult.SUCCESS:
        raise OSError(problems.last)


class _Problems(logging.Handler):
    """The last message of the exporter, which does not raise."""

    last = "the collector did not take it"

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


def _metrics_data(report: Results) -> MetricsData:
    resource = Resource({"service.name": "abench", "service.version": abench_version()})
    metrics = ScopeMetrics(
        InstrumentationScope("abench", abench_version()), [*_metrics(report)], ""
    )
    return MetricsData([ResourceMetrics(resource, [metrics], "")])


def _metrics(report: Results) -> Iterator[Metric]:
    begin, end = _span_ns(report)
    for gauge in gauges(report):
        if gauge.values:
            yield _gauge(gauge, begin, end)
    name, text, unit = LATENCY
    points = [
        HistogramDataPoint(
            attributes=dict(one.labels),
            start_time_unix_nano=begin,
            time_unix_nano=end,
            count=one.count,
            sum=one.sum_s,
            bucket_counts=one.counts,
            explicit_bounds=BOUNDS_S,
            min=one.min_s,
            max=one.max_s,
        )
        for one in distributions(report)
    ]
    # Counted since the start of this run. Prometheus drops histograms that count since the last.
    yield Metric(f"abench.{name}", text, unit, Histogram(points, AggregationTemporality.CUMULATIVE))


def _gauge(gauge: Gauge, begin: int, end: int) -> Metric:
    points = [NumberDataPoint(dict(labels), begin, end, value) for labels, value in gauge.values]
    return Metric(f"abench.{gauge.name}", gauge.text, gauge.unit, GaugePoints(points))


def _span_ns(report: Results) -> tuple[int, int]:
    """Return when the run began and ended, in nanoseconds since the epoch."""
    length = round(report.duration_s * 1e9)
    if report.environment is None:
        now = time.time_ns()
        return now - length, now
    begin = datetime.fromisoformat(report.environment.started_at).timestamp()
    warmup_s = report.warmup.duration_s if report.warmup else 0.0
    begin_ns = round((begin + warmup_s) * 1e9)
    return begin_ns, begin_ns + length
