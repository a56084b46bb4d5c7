"""The report as plain tables: the time series as CSV, a distribution in HdrHistogram's format."""

import csv
from collections.abc import Iterator
from typing import TextIO

from abench.stats.histogram import Histogram
from abench.stats.latency import Latency
from abench.stats.results import Results

_STEPS = 5  # as HdrHistogram's programs: lines for each halving of the distance to 100 %


def write_csv(report: Results, stream: TextIO) -> None:
    """Write a row for each second of the run; latencies are in microseconds."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_names(report))
    for second in report.series:
        counts = (second.succeeded, second.failed, second.bytes_received)
        row = [second.at_s, f"{second.length_s:.3f}", *counts, f"{second.pages_per_sec:.3f}"]
        for latency in filter(None, (second.service, second.response)):
            row += _values(latency)
        writer.writerow(row)


def _names(report: Results) -> Iterator[str]:
    yield from ("at_s", "length_s", "succeeded", "failed", "bytes_received", "pages_per_sec")
    for which in ("service", "response") if report.response else ("service",):
        for name in ("min", "mean", *report.service.percentiles, "max"):
            yield f"{which}_{name}_us"


def _values(latency: Latency) -> Iterator[str | int]:
    values = (latency.min, latency.mean, *latency.percentiles.values(), latency.max)
    for value in values:
        yield "" if value is None else round(value)


def write_hgrm(histogram: Histogram, stream: TextIO) -> None:
    """Write a distribution in milliseconds, in the format of HdrHistogram's plotting programs.

    The library's own writer does not convert the standard deviation from microseconds.
    """
    hdr = histogram.hdr()
    stream.write("       Value     Percentile TotalCount 1/(1-Percentile)\n\n")
    for step in hdr.get_percentile_iterator(_STEPS):
        below = step.percentile_level_iterated_to / 100
        line = f"{_ms(step.value_iterated_to)} {below:.12f} {step.total_count_to_this_value:10d}"
        stream.write(f"{line} {1 / (1 - below):14.2f}\n" if below < 1 else f"{line}\n")
    mean, deviation = histogram.mean or 0, hdr.get_stddev() if histogram.counts else 0
    stream.write(f"#[Mean    = {_ms(mean)}, StdDeviation   = {_ms(deviation)}]\n")
    stream.write(
        f"#[Max     = {_ms(histogram.max or 0)}, TotalCount     = {histogram.count:12d}]\n"
    )
    stream.write(
        f"#[Buckets = {hdr.bucket_count:12d}, SubBuckets     = {hdr.sub_bucket_count:12d}]\n"
    )


def _ms(microseconds: float) -> str:
    return f"{microseconds / 1000:12.3f}"
