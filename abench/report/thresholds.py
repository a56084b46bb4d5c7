"""Conditions under which a run has failed, for whoever gates on it: `p99>50ms`, `errors>0.1%`."""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from abench.errors import ParameterError
from abench.report.derived import Report, Threshold
from abench.report.units import decimal, microseconds

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

# What each counts, and what a percentage of it is of.
_COUNTS: dict[str, Callable[[Report], tuple[float, float]]] = {
    "errors": lambda report: (report.failed, report.total),
    "unfinished": lambda report: (report.unfinished, report.total + report.unfinished),
    "late": lambda report: (report.paced.late, report.paced.due) if report.paced else (0, 0),
    "skipped": lambda report: (report.paced.skipped, report.paced.due) if report.paced else (0, 0),
}
_RATES: dict[str, Callable[[Report], tuple[float, float]]] = {
    "pages": lambda report: (report.pages_per_sec, report.pages_per_sec),
    "achieved": lambda report: (
        (report.paced.achieved, report.paced.offered) if report.paced else (0, 0)
    ),
}


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
            if unit not in units or (which and units != tuple(_TIMES)):
                wanted = ", ".join(one or "no unit" for one in units)
                raise ParameterError("--fail-if", f"{text!r}: {metric} is given in {wanted}")
            return cls(text.strip(), which, metric, found["sign"], float(found["value"]), unit)
        known = ", ".join((*_COUNTS, *_RATES, *_LATENCIES, "p50 to p99.9999"))
        raise ParameterError("--fail-if", f"{text!r}: {metric} is none of {known}")

    def judge(self, report: Report) -> Threshold:
        """Say whether it came true. What cannot be measured has failed, whatever was asked."""
        measured, shown = self._measured(report)
        failed = measured is None or _SIGNS[self.sign](measured, self.value)
        return Threshold(self.text, failed, shown)

    def _measured(self, report: Report) -> tuple[float | None, str]:
        if self.unit in _TIMES:
            us = self._latency_us(report)
            return None if us is None else us / _TIMES[self.unit], microseconds(us)
        count, whole = (_COUNTS | _RATES)[self.metric](report)
        if self.unit == "%":
            share = 100 * count / whole if whole else None
            return share, "-" if share is None else f"{share:.3g} %"
        return count, decimal(count) if self.metric in _RATES else f"{count:,.0f}"

    def _latency_us(self, report: Report) -> float | None:
        which = self.which or ("response" if report.response else "service")
        histogram = getattr(report.summary, which)
        if self.metric in _LATENCIES:
            value: float | None = getattr(histogram, self.metric)
            return value
        percent = float(self.metric[1:])
        return histogram.percentiles([percent])[percent]  # type: ignore[no-any-return]


def _units(metric: str) -> tuple[str, ...]:
    if metric in _LATENCIES or metric[1:2].isdigit():
        return tuple(_TIMES)
    if metric in _COUNTS:
        return ("", "%")
    if metric == "achieved":
        return ("/s", "%", "")
    return ("/s", "") if metric in _RATES else ()


def judge(conditions: list[Condition], report: Report) -> tuple[Threshold, ...]:
    """Return how a run did. Where there are conditions, a rate that was not met fails as well."""
    judged = [condition.judge(report) for condition in conditions]
    if judged and report.paced and not report.paced.is_kept:
        measured = f"{decimal(report.paced.achieved)}/s of {decimal(report.paced.offered)}/s"
        judged.append(Threshold("achieved<99%", failed=True, measured=measured))
    return tuple(judged)
