"""The curves of a report's plots: what they are of, however they are drawn."""

from collections.abc import Sequence
from typing import NamedTuple

from abench.stats.results import Results

Values = Sequence[float | None]


class Curve(NamedTuple):
    """A named curve; `dash` is `-`, `--` or `:`, and a broad one lies behind the others."""

    label: str
    color: str  # a variable of the style sheet
    dash: str
    values: Values
    is_broad: bool = False


def moments(report: Results) -> list[float]:
    """Return the seconds at which the intervals of the run are drawn: their middles."""
    return [one.at_s + one.length_s / 2 for one in report.series]


def rates(report: Results) -> list[Curve]:
    """Return rates per second over time: requested if they were, pages, failures if any."""
    curves = []
    if has_requested_rate(report):
        requested = [one.requested_per_sec for one in report.series]
        curves.append(Curve("requested", "--quiet", "-", requested, is_broad=True))
    served = [one.pages_per_sec for one in report.series]
    curves.append(Curve("pages", "--first", "-", served))
    if any(one.failed for one in report.series):
        failed = [one.failed / one.length_s if one.length_s else 0 for one in report.series]
        curves.append(Curve("failures", "--bad", "--", failed))
    return curves


def has_requested_rate(report: Results) -> bool:
    """Whether a schedule says which rate is wanted, at any time of the run."""
    return any(one.requested_per_sec is not None for one in report.series)


def latencies(report: Results) -> list[Curve]:
    """Return percentiles over time in microseconds: response times with a schedule."""
    found = [(one.response or one.service).percentiles for one in report.series]
    return [
        Curve(name, color, dash, [each[name] for each in found])
        for name, color, dash in (
            ("p50", "--first", "-"),
            ("p99", "--second", "--"),
            ("p99.9", "--third", ":"),
        )
    ]
