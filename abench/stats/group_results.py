"""The results of each group of requests: of each URL of a mix, and of a log."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from abench.plan.request_groups import MAX_GROUPS, OTHERS
from abench.stats.derivation import Run
from abench.stats.figure import Figure, derived
from abench.stats.groups import GroupStats
from abench.stats.latency import RESPONSE, SERVICE, Latency, latencies_with_waits
from abench.stats.summary import FAILURES


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupResult:
    """The results of some of the requests."""

    length_s: Annotated[float, Figure("Length", "Seconds of the run, as `duration_s`.", "s")]
    succeeded: Annotated[
        int,
        Figure(
            "Succeeded",
            "Requests whose response was complete, in time and as expected.",
            "requests",
        ),
    ]
    failed: Annotated[int, Figure("Failed", "Requests that failed.", "requests")]
    unfinished: Annotated[
        int, Figure("Unfinished", "Requests without an outcome when the run ended.", "requests")
    ]
    bytes_received: Annotated[
        int,
        Figure("Bytes received", "Bytes of complete responses, headers included.", "bytes"),
    ]
    status: Annotated[
        dict[int, int],
        Figure("Status codes", "Responses by status code, successful and failed.", "responses"),
    ]
    failures: Annotated[
        dict[str, int],
        Figure("Failures", "Failed requests by kind, as far as there were any.", "requests"),
    ]
    service: Annotated[Latency, SERVICE]
    response: Annotated[Latency | None, RESPONSE]

    @property
    @derived("Rate", "/s", after="length_s")
    def pages_per_sec(self) -> float:
        """Successful requests per second."""
        return self.succeeded / self.length_s if self.length_s else 0.0

    @property
    @derived("Throughput", "bytes/s", after="pages_per_sec")
    def bytes_per_sec(self) -> float:
        """Bytes of complete responses per second, headers included."""
        return self.bytes_received / self.length_s if self.length_s else 0.0

    @property
    def total(self) -> int:
        """Requests that succeeded or failed."""
        return self.succeeded + self.failed

    @property
    def time_us(self) -> float:
        """The service times of all successes together: what of the run they took."""
        return self.succeeded * (self.service.mean or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlResult(GroupResult):
    """The results of the requests for one URL."""

    method: Annotated[
        str, Figure("Method", "The request method. Empty for all other URLs.", after="")
    ]
    url: Annotated[
        str | None,
        Figure(
            "URL",
            "The URL, without user name and password. Null for all other URLs.",
            after="method",
        ),
    ]


BY_URL = Figure(
    "URLs",
    f"The results of each URL, if there are several: of the {MAX_GROUPS:,} with the highest weight "
    "or, of a log, most requests. The last is of all other URLs, if there are more.",
    later=True,
)


def url_results(run: Run) -> tuple[UrlResult, ...]:
    """Return the results of each URL, if there are several."""
    return tuple(_results(run)) if len(run.plan.groups) > 1 else ()


def _results(run: Run) -> Iterator[UrlResult]:
    for number, (method, url) in enumerate(run.plan.group_names()):
        counted = run.summary.groups.get(number, GroupStats())
        yield UrlResult(
            method=method, url=None if url == OTHERS else url, **group_figures(run, counted)
        )


def group_figures(run: Run, counted: GroupStats) -> dict[str, Any]:
    """Return the fields of a GroupResult."""
    scheduled = run.plan.schedule is not None
    return {
        "length_s": run.duration_s,
        "succeeded": counted.service.count,
        "failed": counted.failures.total(),
        "unfinished": counted.unfinished,
        "bytes_received": counted.bytes_received,
        "status": dict(sorted(counted.status.items())),
        "failures": {kind: counted.failures[kind] for kind in FAILURES if counted.failures[kind]},
        "service": Latency.of(latencies_with_waits(counted, "service")),
        "response": (Latency.of(latencies_with_waits(counted, "response")) if scheduled else None),
    }
