"""The report as a text file for Prometheus, by its own library.

It is meant for the textfile collector of node_exporter, so it has no time stamps: the collector
refuses them.
"""

from collections.abc import Iterator
from itertools import accumulate
from typing import TextIO

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from abench.report.metrics import BOUNDS_S, LATENCY, Gauge, distributions, gauges
from abench.stats.results import Results

_UNITS = {
    "s": "seconds",
    "1": "ratio",
    "By/s": "bytes_per_second",
    "{page}/s": "per_second",
    "{request}/s": "per_second",
}
"""Units as names end in them; one in braces alone says what is counted, and is left out."""


def write_prometheus(report: Results, stream: TextIO) -> None:
    """Write `report` to `stream` in the text format."""
    registry = CollectorRegistry()
    registry.register(_Run(report))
    stream.write(generate_latest(registry).decode())


class _Run(Collector):
    """The figures of a run as families of metrics."""

    def __init__(self, report: Results) -> None:
        self._report = report

    def collect(self) -> Iterator[Metric]:
        yield from map(_gauge, filter(lambda one: one.values, gauges(self._report)))
        yield _histogram(self._report)


def _gauge(gauge: Gauge) -> Metric:
    names = list(gauge.values[0][0])
    family = GaugeMetricFamily(_name(gauge.name, gauge.unit), gauge.text, labels=names)
    for labels, value in gauge.values:
        family.add_metric(list(labels.values()), value)
    return family


def _histogram(report: Results) -> Metric:
    name, text, unit = LATENCY
    labels = ["target", "distribution"]
    family = HistogramMetricFamily(_name(name, unit), text, labels=labels)
    for one in distributions(report):
        bounds = [*(f"{bound:g}" for bound in BOUNDS_S), "+Inf"]
        cumulative = list(zip(bounds, map(float, accumulate(one.counts)), strict=True))
        family.add_metric([one.labels[label] for label in labels], cumulative, one.sum_s)
    return family


def _name(name: str, unit: str) -> str:
    return "_".join(filter(None, ("abench", name, _UNITS.get(unit, ""))))
