"""Conditions under which a run fails, for CI gates: `p99>50ms`, `errors>0.1%`."""

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

# The count of each metric and the total that its percentage refers to; None if not measured.
_COUNTS: dict[str, Callable[[Report], Measured]] = {
    "errors": lambda report: _part(report.failed, report.total),
    "stale": lambda report: _part(report.failures["stale"], report.total),
    "retried": lambda report: _part(report.retried, report.total),
    "unfinished": lambda report: _part(report.unfinished, report.total + report.unfinished),
    "late": lambda report: (
        _part(report.schedule.late, report.schedule.due) if report.schedule else None
    ),
    "skipped": lambda report: (
        _part(report.schedule.skipped, report.schedule.due) if report.schedule else None
    ),
}
_RATES: dict[str, Callable[[Report], Measured]] = {
    "pages": lambda report: _part(report.pages_per_sec, report.pages_per_sec, report.duration_s),
    "achieved": lambda report: (
        _part(report.schedule.achieved, report.schedule.offered, report.schedule.due)
        if report.schedule
        else None
    ),
}


def _part(number: float, total: float, measured: float | None = None) -> Measured:
    """Return a count and the total it is a share of, or None if nothing was `measured`."""
    return (number, total) if (total if measured is None else measured) else None


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition; `text` is as it was given."""

    text: str
    which: str | None
    metric: str
    sign: str
    value: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Parse a condition; raises ParameterError if it is invalid."""
        found = _CONDITION.fullmatch(text)
        if not found:
            raise ParameterError(
                "--fail-if", f"{text!r} is no condition such as p99>50ms or errors>0.1%"
            )
        metric, unit, which = found["metric"], found["unit"], found["which"]
        if units := _units(metric):
            if unit not in units or (which and (units != tuple(_TIMES) or metric == SILENCE)):
                choices = ", ".join(one or "no unit" for one in units)
                raise ParameterError(
                    "--fail-if", f"{text!r}: the unit of {metric} is one of: {choices}"
                )
            return cls(text.strip(), which, metric, found["sign"], float(found["value"]), unit)
        known = ", ".join((*_COUNTS, *_RATES, SILENCE, *_LATENCIES, "p50 to p99.9999"))
        raise ParameterError("--fail-if", f"{text!r}: {metric} is not one of {known}")

    def evaluate(self, report: Report) -> Threshold:
        """Evaluate the condition. If it cannot be measured, the run fails."""
        measured, formatted = self._measured(report)
        failed = measured is None or _SIGNS[self.sign](measured, self.value)
        return Threshold(self.text, failed, formatted)

    def _measured(self, report: Report) -> tuple[float | None, str]:
        if self.unit in _TIMES:
            us = self._time_us(report)
            return None if us is None else us / _TIMES[self.unit], microseconds(us)
        found = (_COUNTS | _RATES)[self.metric](report)
        if found is None:
            return None, "-"
        count, total = found
        if self.unit == "%":
            share = 100 * self._share(report, count, total)
            return share, f"{significant(share)} %"
        return count, decimal(count) if self.metric in _RATES else f"{count:,.0f}"

    def _share(self, report: Report, count: float, total: float) -> float:
        """Return the share of the total; for errors, pauses of connections count as well."""
        if self.metric == "errors":
            return report.error_share or 0.0
        return count / total if total else 0.0

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
    """Evaluate all conditions. With any condition, a schedule that was not met fails as well."""
    thresholds = [condition.evaluate(report) for condition in conditions]
    if thresholds and report.schedule and not report.schedule.is_met:
        measured = f"{decimal(report.schedule.achieved)}/s of {decimal(report.schedule.offered)}/s"
        thresholds.append(Threshold("achieved<99%", failed=True, measured=measured))
    return tuple(thresholds)
