"""Conditions under which a run fails, for CI gates: `p99>50ms`, `errors>0.1%`."""

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, is_dataclass
from functools import partial
from typing import Any, cast

from abench.errors import ParameterError
from abench.stats.figure import Entry, Gate, entries, without_none
from abench.stats.histogram import Histogram
from abench.stats.latency import Latency, latencies_with_waits
from abench.stats.parts import Threshold
from abench.stats.phase_results import PhaseResults
from abench.stats.phases import PHASES
from abench.stats.results import Results
from abench.stats.sizes import Sizes
from abench.stats.units import decimal, microseconds, significant

_CONDITION = re.compile(
    rf"\s*(?:(?P<which>service|response|{'|'.join(PHASES)})\.)?"
    r"(?P<metric>[a-z]+|p\d{1,2}(?:\.\d{1,4})?)\s*"
    r"(?P<sign>[<>]=?)\s*(?P<value>\d{1,15}(?:\.\d{1,9})?)\s*(?P<unit>%|/s|us|ms|s|)\s*"
)
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_TIMES = {"us": 1.0, "ms": 1e3, "s": 1e6}
_LATENCIES = tuple(entry.figure.gate.name for entry in entries(Latency) if entry.figure.gate)


@dataclass(frozen=True, slots=True)
class _Metric:
    """A figure with a name for conditions; `owner` returns the part of the results that has it."""

    gate: Gate
    unit: str
    owner: Callable[[Results], Any]
    get: Callable[[Any], Any]

    @property
    def units(self) -> tuple[str, ...]:
        """The units in which it can be compared, the one by default first."""
        if self.unit == "s":
            return tuple(_TIMES)
        share = ("%",) if self.gate.of else ()
        return ("/s", *share, "") if self.unit == "/s" else ("", *share)

    def measure(self, report: Results) -> float | None:
        """Return the figure, or None if it was not measured."""
        owner = self.owner(report)
        if owner is None:
            return None
        total = self.gate.measured or self.gate.of
        if total and not getattr(owner, total):
            return None
        value = self.get(owner)
        return float(value[self.gate.item] if self.gate.item else value)

    def share(self, report: Results) -> float:
        """Return the share of the total; for errors, pauses of connections count as well."""
        owner = self.owner(report)
        if self.gate.share:
            return getattr(owner, self.gate.share) or 0.0
        total = getattr(owner, self.gate.of)
        return (self.measure(report) or 0.0) / total if total else 0.0


def _metrics(kind: type, owner: Callable[[Results], Any]) -> Iterator[_Metric]:
    """Yield the figures of a part of the results, and of the parts of it, that have a name.

    Those of distributions are left out: `min`, `mean` and `max` are of the response times.
    """
    for entry in entries(kind):
        part = without_none(entry.hint)
        if entry.figure.gate:
            yield _Metric(entry.figure.gate, entry.figure.unit, owner, entry.get)
        elif is_dataclass(part) and part not in {Latency, PhaseResults, Sizes}:
            yield from _metrics(cast("type", part), partial(_get_part, owner, entry))


def _get_part(owner: Callable[[Results], Any], entry: Entry, report: Results) -> Any:
    found = owner(report)
    return None if found is None else entry.get(found)


_METRICS = {one.gate.name: one for one in _metrics(Results, lambda report: report)}


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
    def parse(cls, text: str, option: str = "--fail-if", sign: str = ">") -> "Condition":
        """Parse a condition of an option; raises ParameterError if it is invalid.

        `sign` is the usual one there, for the example in the message.
        """
        found = _CONDITION.fullmatch(text)
        if not found:
            raise ParameterError(
                option, f"{text!r} is no condition such as p99{sign}50ms or errors{sign}0.1%"
            )
        metric, unit, which = found["metric"], found["unit"], found["which"]
        if units := _units(metric):
            is_latency = units == tuple(_TIMES) and metric not in _METRICS
            if unit not in units or (which and not is_latency):
                choices = ", ".join(one or "no unit" for one in units)
                raise ParameterError(option, f"{text!r}: the unit of {metric} is one of: {choices}")
            return cls(text.strip(), which, metric, found["sign"], float(found["value"]), unit)
        known = ", ".join((*_METRICS, *_LATENCIES, "p50 to p99.9999"))
        raise ParameterError(option, f"{text!r}: {metric} is not one of {known}")

    def evaluate(self, report: Results) -> Threshold:
        """Evaluate the condition. If it cannot be measured, the run fails."""
        measured, formatted = self.measure(report)
        failed = measured is None or _SIGNS[self.sign](measured, self.value)
        return Threshold(self.text, failed, formatted)

    @property
    def limit_us(self) -> float | None:
        """The time that it is compared with, in microseconds; None if it is about another unit."""
        return self.value * _TIMES[self.unit] if self.unit in _TIMES else None

    def measure(self, report: Results) -> tuple[float | None, str]:
        """Return what is compared, in the unit of the condition and as text.

        None if it was not measured.
        """
        if self.unit in _TIMES:
            us = self._time_us(report)
            return None if us is None else us / _TIMES[self.unit], microseconds(us)
        metric = _METRICS[self.metric]
        measured = metric.measure(report)
        if measured is None:
            return None, "-"
        if self.unit == "%":
            share = 100 * metric.share(report)
            return share, f"{significant(share)} %"
        return measured, decimal(measured) if metric.unit == "/s" else f"{measured:,.0f}"

    def _time_us(self, report: Results) -> float | None:
        if self.metric in _METRICS:
            seconds = _METRICS[self.metric].measure(report)
            return None if seconds is None else seconds * 1e6
        histogram = self.distribution(report)
        if self.metric in _LATENCIES:
            value: float | None = getattr(histogram, self.metric)
            return value
        percent = float(self.metric[1:])
        return histogram.percentiles([percent])[percent]

    def distribution(self, report: Results) -> Histogram:
        """Return the distribution that a condition on latencies is about."""
        which = self.which or ("response" if report.response else "service")
        if which in PHASES:
            found: Histogram = getattr(report.summary.phases, which)
            return found
        return latencies_with_waits(report.summary, which)


def _units(metric: str) -> tuple[str, ...]:
    """Return the units of a metric; none if it is unknown."""
    if metric in _LATENCIES or metric[1:2].isdigit():
        return tuple(_TIMES)
    return _METRICS[metric].units if metric in _METRICS else ()


def evaluate(conditions: list[Condition], report: Results) -> tuple[Threshold, ...]:
    """Evaluate all conditions. With any condition, a schedule that was not met fails as well."""
    thresholds = [condition.evaluate(report) for condition in conditions]
    if thresholds and report.schedule and not report.schedule.is_met:
        measured = f"{decimal(report.schedule.achieved)}/s of {decimal(report.schedule.offered)}/s"
        thresholds.append(Threshold("achieved<99%", failed=True, measured=measured))
    return tuple(thresholds)
