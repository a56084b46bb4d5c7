"""The report as plain tables: seconds, stages and URLs as CSV, and HdrHistogram's format."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from abench.stats.group_results import UrlResult
from abench.stats.histogram import Histogram
from abench.stats.latency import NAMES
from abench.stats.parts import Second
from abench.stats.results import Results
from abench.stats.schedule_results import ScheduleResult, StageResult

_STEPS = 5  # as HdrHistogram's programs: lines for each halving of the distance to 100 %


def write_csv(report: Results, stream: TextIO) -> None:
    """Write a row for each second of the run; latencies are in microseconds."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_names(report))
    for second in report.series:
        counts = (second.succeeded, second.failed, second.bytes_received)
        row = [second.at_s, f"{second.length_s:.3f}", *counts, f"{second.pages_per_sec:.3f}"]
        writer.writerow([*row, *_values(second)])


def _names(report: Results) -> Iterator[str]:
    yield from ("at_s", "length_s", "succeeded", "failed", "bytes_received", "pages_per_sec")
    yield from _latency_names(report)


def _latency_names(report: Results) -> Iterator[str]:
    for which in ("service", "response") if report.response else ("service",):
        for name in NAMES:
            yield f"{which}_{name}_us"


def _values(part: Second | StageResult | UrlResult) -> Iterator[str | int]:
    for latency in filter(None, (part.service, part.response)):
        for value in latency.values:
            yield "" if value is None else round(value)


_PART_NAMES = (
    *("length_s", "succeeded", "failed", "unfinished", "bytes_received", "pages_per_sec"),
    *("status", "failures"),
)


def write_stages_csv(report: Results, stream: TextIO) -> None:
    """Write a row for each stage of the schedule; latencies are in microseconds."""
    names = ("stage", "from_s", "offered_per_sec", "achieved_per_sec", "late", "skipped")
    rows = (
        (one.text, one.from_s, *_rates(one.schedule), one.schedule.late, one.schedule.skipped)
        for one in report.stages
    )
    _write_parts(report, names, list(zip(rows, report.stages, strict=True)), stream)


def write_urls_csv(report: Results, stream: TextIO) -> None:
    """Write a row for each URL; latencies are in microseconds."""
    rows = [((one.method, one.url or ""), one) for one in report.by_url]
    _write_parts(report, ("method", "url"), rows, stream)


def _rates(schedule: ScheduleResult) -> tuple[str, str]:
    return f"{schedule.offered:.3f}", f"{schedule.achieved:.3f}"


def _write_parts(
    report: Results,
    names: Sequence[str],
    rows: Sequence[tuple[tuple[object, ...], StageResult | UrlResult]],
    stream: TextIO,
) -> None:
    """Write the cells of each part of a run, and its figures."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow((*names, *_PART_NAMES, *_latency_names(report)))
    for cells, one in rows:
        counts = (one.succeeded, one.failed, one.unfinished, one.bytes_received)
        outcomes = (_pairs(one.status), _pairs(one.failures))
        figures = (f"{one.length_s:.3f}", *counts, f"{one.pages_per_sec:.3f}", *outcomes)
        writer.writerow((*cells, *figures, *_values(one)))


def _pairs(counted: Mapping[int, int] | Mapping[str, int]) -> str:
    """Return counts in one cell, as `200x1234 404x5`."""
    return " ".join(f"{what}x{number}" for what, number in counted.items())


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
