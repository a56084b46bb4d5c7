"""The figures of a run, derived once from what was counted. Every report is drawn from these."""

from dataclasses import dataclass

from abench.plan import Plan
from abench.summary import FAILURE_KINDS, Summary

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution in microseconds: `percentiles` by name, p50 to p99.9; None without values."""

    min: int | None
    mean: float | None
    percentiles: dict[str, int | None]
    max: int | None


@dataclass(frozen=True, slots=True)
class Report:
    """What a run showed. Rates count successes only, per second from the first request on.

    `standing` is how many connections were open when the clock started; `service` the time from
    sending a request (or opening a connection for it) to the last octet of its reply, successes
    only; `failures` has every kind, also those that did not occur. `lost_workers` died: only what
    they had reported is in the figures. `stopped_by` is the signal that ended the run early, or 0.
    """

    plan: Plan
    duration_s: float
    succeeded: int
    failed: int
    unfinished: int
    failures: dict[str, int]
    status: dict[int, int]
    bytes_received: int
    standing: int
    service: Latency
    lost_workers: int
    faults: tuple[str, ...]
    gave_up: bool
    stopped_by: int

    @property
    def total(self) -> int:
        """Requests with an outcome."""
        return self.succeeded + self.failed

    @property
    def pages_per_sec(self) -> float:
        """Successes each second."""
        return self._per_second(self.succeeded)

    @property
    def pages_per_min(self) -> float:
        """Successes each minute, as webbench gives them."""
        return 60 * self.pages_per_sec

    @property
    def bytes_per_sec(self) -> float:
        """Octets of replies each second, heads included."""
        return self._per_second(self.bytes_received)

    def _per_second(self, count: int) -> float:
        return count / self.duration_s if self.duration_s else 0.0


def derive(plan: Plan, summary: Summary) -> Report:
    """Make the Report of a run of `plan` that counted `summary`."""
    return Report(
        plan=plan,
        duration_s=summary.elapsed_ns / 1e9,
        succeeded=summary.succeeded,
        failed=summary.failed,
        unfinished=summary.unfinished,
        failures={kind: summary.failures[kind] for kind in FAILURE_KINDS},
        status=dict(sorted(summary.status.items())),
        bytes_received=summary.bytes_received,
        standing=summary.standing,
        service=_latency(summary),
        lost_workers=summary.lost,
        faults=tuple(summary.faults),
        gave_up=summary.gave_up > 0,
        stopped_by=summary.stopped_by,
    )


def _latency(summary: Summary) -> Latency:
    histogram = summary.service
    found = histogram.percentiles(PERCENTILES.values())
    named = {name: found[percent] for name, percent in PERCENTILES.items()}
    return Latency(histogram.min, histogram.mean, named, histogram.max)
