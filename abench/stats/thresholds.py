"""Conditions under which a run has failed, for whoever gates on it: `p99>50ms`, `errors>0.1%`."""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from abench.errors import ParameterError
from abench.stats.results import Report, Threshold, latencies_with_waits
from abench.stats.units import decimal, microseconds, significant

_CONDITION = re.compile(
    r"\s*(?:(?P<which>service|response)\.)?(?P<metric>[a-z]+|p\d{1,2}(?:\.\d{1,4})?)\s*"
    r"(?P<sign>[<>]=?)\s*(?P<value>\d{1,15}(?:\.\d{1,9})?)\s*(?P<unit>%|/s|us|ms|s|)\s*"
)
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_TIMES = {"us": 1.0, "ms": 1e3, "s": 1e6}
_LATENCIES = ("min", "mean", "max")
SILENCE = "silence"

Measured = tuple[float, float] | None

# What each counts, and what a percentage of it is of; None where it was not measured.
_COUNTS: dict[str, Callable[[Report], Measured]] = {
    "errors": lambda report: _part(report.failed, report.total),
    "stale": lambda report: _part(report.failures["stale"], report.total),
    "retried": lambda report: _part(report.retried, report.total),
    "unfinished": lambda report: _part(report.unfinished, report.total + report.unfinished),
    "late": lambda report: _part(report.paced.late, report.paced.due) if report.paced else None,
    "skipped": lambda report: (
        _part(report.paced.skipped, report.paced.due) if report.paced else None
    ),
}
_RATES: dict[str, Callable[[Report], Measured]] = {
    "pages": lambda report: _part(report.pages_per_sec, report.pages_per_sec, report.duration_s),
    "achieved": lambda report: (
        _part(report.paced.achieved, report.paced.offered, report.paced.due)
        if report.paced
        else None
    ),
}


def _part(number: float, whole: float, measured: float | None = None) -> Measured:
    """Return a figure and what it is a part of, or None if nothing was `measured`."""
    return (number, whole) if (whole if measured is None else measured) else None


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition as it was written, taken apart."""

    text: str
    which: str | None
    metric: str
    sign: str
    value: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Take a condition apart; raises ParameterError for what is none."""
        found = _CONDITION.fullmatch(text)
        if not found:
            raise ParameterError("--fail-if", f"{text!r} is not like p99>50ms or errors>0.1%")
        metric, unit, which = found["metric"], found["unit"], found["which"]
        if units := _units(metric):
            if unit not in units or (which and (units != tuple(_TIMES) or metric == SILENCE)):
                wanted = ", ".join(one or "no unit" for one in units)
                raise ParameterError("--fail-if", f"{text!r}: {metric} is given in {wanted}")
            return cls(text.strip(), which, metric, found["sign"], float(found["value"]), unit)
        known = ", ".join((*_COUNTS, *_RATES, SILENCE, *_LATENCIES, "p50 to p99.9999"))
        raise ParameterError("--fail-if", f"{text!r}: {metric} is none of {known}")

    def evaluate(self, report: Report) -> Threshold:
        """Say whether it came true. What cannot be measured has failed, whatever was asked."""
        measured, shown = self._measured(report)
        failed = measured is None or _SIGNS[self.sign](measured, self.value)
        return Threshold(self.text, failed, shown)

    def _measured(self, report: Report) -> tuple[float | None, str]:
        if self.unit in _TIMES:
            us = self._time_us(report)
            return None if us is None else us / _TIMES[self.unit], microseconds(us)
        found = (_COUNTS | _RATES)[self.metric](report)
        if found is None:
            return None, "-"
        count, whole = found
        if self.unit == "%":
            share = 100 * self._share(report, count, whole)
            return share, f"{significant(share)} %"
        return count, decimal(count) if self.metric in _RATES else f"{count:,.0f}"

    def _share(self, report: Report, count: float, whole: float) -> float:
        """Return what part of the whole it is; of errors, pauses of connections are some too."""
        if self.metric == "errors":
            return report.error_share or 0.0
        return count / whole if whole else 0.0

    def _time_us(self, report: Report) -> float | None:
        if self.metric == SILENCE:
            return report.silence.length_s * 1e6 if report.silence else None
        histogram = latencies_with_waits(
            report.summary, self.which or ("response" if report.response else "service")
        )
        if self.metric in _LATENCIES:
            value: float | None = getattr(histogram, self.metric)
            return value
        percent = float(self.metric[1:])
        return histogram.percentiles([percent])[percent]


def _units(metric: str) -> tuple[str, ...]:
    if metric in {*_LATENCIES, SILENCE} or metric[1:2].isdigit():
        return tuple(_TIMES)
    if metric in _COUNTS:
        return ("", "%")
    if metric == "achieved":
        return ("/s", "%", "")
    return ("/s", "") if metric in _RATES else ()


def evaluate(conditions: list[Condition], report: Report) -> tuple[Threshold, ...]:
    """Return how a run did. Where there are conditions, a rate that was not met fails as well."""
    judged = [condition.evaluate(report) for condition in conditions]
    if judged and report.paced and not report.paced.is_met:
        measured = f"{decimal(report.paced.achieved)}/s of {decimal(report.paced.offered)}/s"
        judged.append(Threshold("achieved<99%", failed=True, measured=measured))
    return tuple(judged)
