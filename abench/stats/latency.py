"""Latencies: the figures of a distribution, and which requests are in it."""

from dataclasses import dataclass
from typing import Annotated, Literal

from abench.stats.figure import Figure, Gate, derived
from abench.stats.groups import GroupStats
from abench.stats.histogram import Histogram
from abench.stats.stages import StageStats
from abench.stats.summary import Summary

PERCENTILES = {"p50": 50.0, "p75": 75.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9}
NAMES = ("min", "mean", "stdev", *PERCENTILES, "max")
"""The figures of a latency, in the order in which reports show them."""

_TITLES = {name: f"{percent:g}th percentile" for name, percent in PERCENTILES.items()}
_TITLES["p50"] = "Median"


@dataclass(frozen=True, slots=True)
class Latency:
    """A latency distribution in microseconds; None without values."""

    min: Annotated[
        int | None,
        Figure("Minimum", "Microseconds, exact. Null without values.", "us", gate=Gate("min")),
    ]
    mean: Annotated[
        float | None,
        Figure("Mean", "Microseconds, exact. Null without values.", "us", gate=Gate("mean")),
    ]
    percentiles: Annotated[
        dict[str, int | None],
        Figure(
            "Percentiles",
            "Microseconds, at most 0.1 % too high. Null without values.",
            "us",
            names=_TITLES,
            later_names=frozenset({"p75", "p95"}),
            compared=("p50", "p90", "p99"),
        ),
    ]
    max: Annotated[
        int | None,
        Figure("Maximum", "Microseconds, exact. Null without values.", "us", gate=Gate("max")),
    ]
    stdev: Annotated[
        float | None,
        Figure(
            "Standard deviation",
            "Microseconds, of values that are known to 0.05 %. Null without values.",
            "us",
            after="mean",
            later=True,
        ),
    ] = None

    @classmethod
    def of(cls, histogram: Histogram) -> "Latency":
        """Return the figures of a distribution."""
        found = histogram.percentiles(PERCENTILES.values())
        named = {name: found[percent] for name, percent in PERCENTILES.items()}
        return cls(histogram.min, histogram.mean, named, histogram.max, histogram.stdev)

    @property
    def values(self) -> tuple[float | None, ...]:
        """All figures, in the order of NAMES."""
        return self.min, self.mean, self.stdev, *self.percentiles.values(), self.max

    @property
    @derived("Unit", after="")
    def unit(self) -> Literal["us"]:
        """The unit of all values: us, microseconds."""
        return "us"


SERVICE = Figure(
    "Service times",
    "From sending a request, or opening a connection for it, to the last byte of its response.",
    "us",
    key="latency/service",
)
STAGE_RESPONSE = Figure(
    "Response times",
    "From when a request was due to the last byte of its response: what users wait.",
    "us",
    key="latency/response",
)
RESPONSE = STAGE_RESPONSE._replace(text=f"{STAGE_RESPONSE.text} Null in a closed loop.")


def latencies_with_waits(counted: Summary | StageStats | GroupStats, which: str) -> Histogram:
    """Return the service or response times of successes, and the longer waits at the end.

    A request without a response at the end takes longer than it had waited by then. If that is
    longer than the slowest response, its place in the distribution is known.
    """
    latencies = Histogram()
    latencies.merge(getattr(counted, which))
    latencies.merge(longer_waits(counted, which))
    return latencies


def longer_waits(counted: Summary | StageStats | GroupStats, which: str) -> Histogram:
    """Return the waits at the end that were longer than the slowest response.

    If all responses were failures, how long they took is not known, nor which wait is longer.
    """
    waits: Histogram = {"service": counted.waits, "response": counted.due_waits}[which]
    successes: Histogram = getattr(counted, which)
    if counted.status and not successes.count:
        return Histogram()
    slowest = successes.max_us
    return Histogram.of(list(waits.above(slowest).elements()))
