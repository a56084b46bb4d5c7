"""The report as plain tables: the series as CSV, a distribution in HdrHistogram's own form."""

import csv
from collections.abc import Iterator
from typing import TextIO

from abench.histogram import Histogram
from abench.report.derived import Latency, Report

MICROSECONDS_IN_MS = 1000.0
_STEPS = 5  # of HdrHistogram's own programs: lines for each halving of the distance to 100 %


def write_csv(report: Report, stream: TextIO) -> None:
    """Write a line for each second of the run, latencies in microseconds."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_names(report))
    for second in report.series:
        counts = (second.succeeded, second.failed, second.bytes_received)
        row = [second.at_s, f"{second.length_s:.3f}", *counts, f"{second.pages_per_sec:.3f}"]
        for latency in filter(None, (second.service, second.response)):
            row += _values(latency)
        writer.writerow(row)


def _names(report: Report) -> Iterator[str]:
    yield from ("at_s", "length_s", "succeeded", "failed", "bytes_received", "pages_per_sec")
    for which in ("service", "response") if report.response else ("service",):
        for name in ("min", "mean", *report.service.percentiles, "max"):
            yield f"{which}_{name}_us"


def _values(latency: Latency) -> Iterator[str | int]:
    values = (latency.min, latency.mean, *latency.percentiles.values(), latency.max)
    for value in values:
        yield "" if value is None else round(value)


def write_hgrm(histogram: Histogram, stream: TextIO) -> None:
    """Write a distribution in milliseconds as HdrHistogram's plotting programs read it."""
    lines = histogram.hdr()
    binary = _Encoding(stream)
    lines.output_percentile_distribution(binary, MICROSECONDS_IN_MS, _STEPS)


class _Encoding:
    """A stream of octets, as that library writes to, in front of a text stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, octets: bytes) -> None:
        self._stream.write(octets.decode("ascii"))
