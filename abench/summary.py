"""What was counted. Cheap while it runs, merged freely, made into percentiles only at the end.

A connection puts plain integers into a Recorder; several times a second they leave its process
as a Batch; Batches add up to a Summary; Summaries of any number of processes or machines merge
in any order to the same Summary.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hdrh.histogram import HdrHistogram

FAILURE_KINDS = ("connect", "timeout", "reset", "protocol", "status")


@dataclass(frozen=True, slots=True)
class Batch:
    """What one process has counted since its last Batch: `service` is count by microseconds."""

    service: dict[int, int]
    status: dict[int, int]
    failures: dict[str, int]
    bytes_received: int


class Recorder:
    """The hot path's notebook: one process's counts since the last Batch was taken.

    `service` is a plain list of microseconds, one for each success, for a connection to append
    to. A reply recognised as like the last one read in full is nothing but such an append: its
    status and length are those that `expect` was told, and are multiplied out in `take`.
    """

    __slots__ = ("_failures", "_length", "_octets", "_read", "_status", "_statuses", "service")

    def __init__(self) -> None:
        self.service: list[int] = []
        self._read = 0  # of `service`, how many were not recognised but read in full
        self._status = self._length = self._octets = 0
        self._statuses: Counter[int] = Counter()
        self._failures: Counter[str] = Counter()

    def expect(self, status: int, length: int) -> None:
        """Take replies recognised from now on as of this status and this many octets."""
        self._settle()
        self._status, self._length = status, length

    def success(self, status: int, took_us: int) -> None:
        """Count a reply that was read in full."""
        self.service.append(took_us)
        self._read += 1
        self._statuses[status] += 1

    def failure(self, kind: str, status: int = 0) -> None:
        """Count a request that failed; `status` is that of its reply, if there was a whole one."""
        self._failures[kind] += 1
        if status:
            self._statuses[status] += 1

    def received(self, octets: int) -> None:
        """Count octets of a reply that is being read."""
        self._octets += octets

    def take(self) -> Batch:
        """Return all that was counted since the last call, and forget it."""
        self._settle()
        batch = Batch(
            dict(Counter(self.service)), dict(self._statuses), dict(self._failures), self._octets
        )
        self.service.clear()  # in place: connections hold its append
        self._statuses.clear()
        self._failures.clear()
        self._read = self._octets = 0
        return batch

    def _settle(self) -> None:
        """Count the status and the octets of the replies that were only recognised."""
        if recognised := len(self.service) - self._read:
            self._statuses[self._status] += recognised
            self._octets += recognised * self._length
            self._read += recognised


class Histogram:
    """Counts of microseconds, in HDR buckets of three significant digits, up to one hour.

    Least, greatest and mean are exact; percentiles are within 0.1 %.
    """

    HIGHEST_US = 3_600_000_000
    DIGITS = 3

    def __init__(self) -> None:
        self.buckets = HdrHistogram(1, self.HIGHEST_US, self.DIGITS)
        self.total_us = 0
        self.least_us = sys.maxsize
        self.greatest_us = 0

    def record(self, counts: Mapping[int, int]) -> None:
        """Add `counts`, times each value in microseconds was seen."""
        for value, count in counts.items():
            self.buckets.record_value(min(value, self.HIGHEST_US), count)
            self.total_us += value * count
        self.least_us = min(self.least_us, min(counts, default=self.least_us))
        self.greatest_us = max(self.greatest_us, max(counts, default=0))

    def merge(self, other: "Histogram") -> None:
        """Add what `other` has counted."""
        self.buckets.add(other.buckets)
        self.total_us += other.total_us
        self.least_us = min(self.least_us, other.least_us)
        self.greatest_us = max(self.greatest_us, other.greatest_us)

    @property
    def count(self) -> int:
        """How many values were recorded."""
        return int(self.buckets.total_count)

    @property
    def min(self) -> int | None:
        """The least value, or None when there is none."""
        return self.least_us if self.count else None

    @property
    def max(self) -> int | None:
        """The greatest value, or None when there is none."""
        return self.greatest_us if self.count else None

    @property
    def mean(self) -> float | None:
        """The arithmetic mean, or None when there is none."""
        return self.total_us / self.count if self.count else None

    def percentiles(self, wanted: Iterable[float]) -> dict[float, int | None]:
        """Return the value at or below which each of the `wanted` percentages of values lie."""
        if not self.count:
            return dict.fromkeys(wanted)
        found = self.buckets.get_percentile_to_value_dict(list(wanted))
        return {percent: min(value, self.greatest_us) for percent, value in found.items()}

    def encode(self) -> dict[str, Any]:
        """Return plain data for JSON: buckets in HdrHistogram's own V2 format, base64."""
        return {
            "hdr": self.buckets.encode().decode("ascii"),
            "total_us": self.total_us,
            "least_us": self.least_us,
            "greatest_us": self.greatest_us,
        }

    @classmethod
    def decode(cls, data: Mapping[str, Any]) -> "Histogram":
        """Undo `encode`."""
        histogram = cls()
        histogram.buckets.decode_and_add(data["hdr"])
        histogram.total_us = data["total_us"]
        histogram.least_us = data["least_us"]
        histogram.greatest_us = data["greatest_us"]
        return histogram


@dataclass(kw_only=True)
class Summary:
    """All that was counted in a run, or in a share of it.

    `standing` is connections that stood when the clock started, `unfinished` requests without an
    outcome when it stopped; `elapsed_ns` is the longest of the shares' clocks. `lost` is worker
    processes that died, with only what they had reported counted; `gave_up` those that ended
    early because nothing could be connected to; `faults` says what went wrong in abench itself.
    `stopped_by` is the signal that ended the run, 0 for none.
    """

    service: Histogram = field(default_factory=Histogram)
    status: Counter[int] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    bytes_received: int = 0
    standing: int = 0
    unfinished: int = 0
    elapsed_ns: int = 0
    lost: int = 0
    gave_up: int = 0
    stopped_by: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def succeeded(self) -> int:
        """Requests with a complete reply of a status below 400, in time."""
        return self.service.count

    @property
    def failed(self) -> int:
        """Requests with any other outcome."""
        return self.failures.total()

    def add(self, batch: Batch) -> None:
        """Count what a process has reported."""
        self.service.record(batch.service)
        self.status.update(batch.status)
        self.failures.update(batch.failures)
        self.bytes_received += batch.bytes_received

    def merge(self, other: "Summary") -> None:
        """Count another share of the same run."""
        self.service.merge(other.service)
        self.status.update(other.status)
        self.failures.update(other.failures)
        for name in ("bytes_received", "standing", "unfinished", "lost", "gave_up"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.elapsed_ns = max(self.elapsed_ns, other.elapsed_ns)
        self.stopped_by = max(self.stopped_by, other.stopped_by)
        self.faults = sorted(self.faults + other.faults)  # in any order, the same

    def encode(self) -> str:
        """Return the Summary as JSON, for another machine to merge."""
        plain = {**vars(self), "service": self.service.encode()}
        return json.dumps(plain)

    @classmethod
    def decode(cls, text: str) -> "Summary":
        """Undo `encode`."""
        plain = json.loads(text)
        plain["service"] = Histogram.decode(plain["service"])
        plain["status"] = Counter({int(code): n for code, n in plain["status"].items()})
        plain["failures"] = Counter(plain["failures"])
        return cls(**plain)
