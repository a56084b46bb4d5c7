"""The tables of a report that divide a run: into phases, stages and URLs, as rows of texts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from abench.stats.group_results import GroupResult, UrlResult
from abench.stats.latency import Latency
from abench.stats.results import Results
from abench.stats.units import byte_size, count, decimal, microseconds, significant

PHASE_NAMES = ("count", "mean", "stdev", "p50", "p75", "p95", "p99", "max")
STAGE_NAMES = (
    *("offered/s", "achieved/s", "late", "pages/s", "bytes/s"),
    *("failed", "p50", "p95", "p99"),
)
URL_NAMES = ("requests", "pages/s", "bytes/s", "failed", "p50", "p95", "p99")
OPTIONAL = (frozenset({"pages/s", "bytes/s", "stdev", "p75"}), frozenset({"p95"}))
"""Columns that are left out where a table has no room for them, one set after the other."""

ALL_OTHERS = "all others"


class Row(NamedTuple):
    """A row: its label, a text for each column, and what of its outcomes was not as usual."""

    label: str
    cells: list[str]
    outcomes: str = ""


def phase_rows(report: Results) -> Iterator[Row]:
    """Yield each phase of the run itself that happened, with columns as in PHASE_NAMES."""
    for name, phase in report.phases.found.items():
        if name == "lookup":  # before the run
            continue
        times, at = phase.latency, phase.latency.percentiles
        found = (times.mean, times.stdev, at["p50"], at["p75"], at["p95"], at["p99"], times.max)
        yield Row(name, [count(phase.count), *map(microseconds, found)])


def stage_rows(report: Results) -> Iterator[Row]:
    """Yield each stage as it was given, with columns as in STAGE_NAMES; response times.

    A single stage is the whole run, which is described already.
    """
    for stage in report.stages if len(report.stages) > 1 else ():
        schedule = stage.schedule
        rates = [decimal(rate) for rate in (schedule.offered, schedule.achieved)]
        late = f"{significant(100 * schedule.late_share)} %"
        served = [decimal(stage.pages_per_sec), byte_size(stage.bytes_per_sec), count(stage.failed)]
        cells = [*rates, late, *served, *_percentiles(stage.response)]
        yield Row(stage.text, cells, _outcomes(stage.status, stage.failures))


def url_rows(report: Results) -> Iterator[Row]:
    """Yield each URL of several, with columns as in URL_NAMES, those that took most time first.

    The times are response times with a schedule, else service times.
    """
    methods = {one.method for one in report.by_url if one.method}
    server = f"{report.plan.target.scheme}://{report.plan.target.authority}"
    for one in sorted(report.by_url, key=lambda one: (one.url is None, -one.time_us)):
        yield _group_row(_label(one, server, with_method=len(methods) > 1), one)


def step_rows(report: Results) -> Iterator[Row]:
    """Yield each step of a scenario, as `url_rows` yields URLs."""
    steps = report.scenario.steps if report.scenario else ()
    for one in sorted(steps, key=lambda one: -one.time_us):
        yield _group_row(one.name, one)


def _group_row(label: str, one: GroupResult) -> Row:
    served = [decimal(one.pages_per_sec), byte_size(one.bytes_per_sec), count(one.failed)]
    cells = [count(one.total), *served, *_percentiles(one.response or one.service)]
    return Row(label, cells, _outcomes(one.status, one.failures))


def _label(one: UrlResult, server: str, *, with_method: bool) -> str:
    if one.url is None:
        return ALL_OTHERS
    path = one.url.removeprefix(server)
    return f"{one.method} {path}" if with_method else path


def _percentiles(latency: Latency) -> list[str]:
    return [microseconds(latency.percentiles[name]) for name in ("p50", "p95", "p99")]


def _outcomes(status: Mapping[int, int], failures: Mapping[str, int]) -> str:
    """Return the status codes and the kinds of failures, if some failed or codes differ."""
    if not failures and len(status) < 2:
        return ""
    kinds = {kind: number for kind, number in failures.items() if kind != "status"}
    found: Sequence[tuple[int | str, int]] = (*status.items(), *kinds.items())
    return "   ".join(f"{what} x {count(number)}" for what, number in found)
