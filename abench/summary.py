"""What was counted. Cheap while it runs, merged freely, made into percentiles only at the end.

A connection puts plain integers into a Recorder. Several times a second they leave its process as
a Summary, and Summaries of any number of moments, processes or machines merge, in any order, to
the same Summary.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hdrh.histogram import HdrHistogram

FAILURE_KINDS = ("connect", "timeout", "reset", "protocol", "status")

HIGHEST_US = 3_600_000_000  # an hour, the longest time limit a Plan takes
DIGITS = 3
_BITS = 11  # 2**11 is the first power of two with 2 * 10**DIGITS steps in it: HDR's sub-buckets


def _bucket(value: int) -> int:
    """Return the least value of the HDR bucket that holds `value`."""
    shift = value.bit_length() - _BITS
    return value >> shift << shift if shift > 0 else value


@dataclass
class Histogram:
    """Counts of microseconds, in HDR buckets of three significant digits, up to one hour.

    `counts` is by the least value of a bucket, and holds only the buckets that something fell in.
    Least, greatest and mean are exact; percentiles are within 0.1 %.
    """

    counts: Counter[int] = field(default_factory=Counter)
    total_us: int = 0
    least_us: int = sys.maxsize
    greatest_us: int = 0

    @classmethod
    def of(cls, values: list[int]) -> "Histogram":
        """Return the histogram of `values`, microseconds, none above HIGHEST_US.

        What all of them can spare is cut off before they are counted, so that most of the counting
        is done in C and the rest for values that differ.
        """
        if not values:
            return cls()
        least = min(values)
        spare = max(least.bit_length() - _BITS, 0)
        alike = Counter([value >> spare for value in values] if spare else values)
        counts: dict[int, int] = {}
        for value, count in alike.items():
            bucket = _bucket(value << spare)
            counts[bucket] = counts.get(bucket, 0) + count
        return cls(Counter(counts), sum(values), least, max(values))

    def merge(self, other: "Histogram") -> None:
        """Add what `other` has counted."""
        self.counts.update(other.counts)
        self.total_us += other.total_us
        self.least_us = min(self.least_us, other.least_us)
        self.greatest_us = max(self.greatest_us, other.greatest_us)

    @property
    def count(self) -> int:
        """How many values were recorded."""
        return self.counts.total()

    @property
    def min(self) -> int | None:
        """The least value, or None when there is none."""
        return self.least_us if self.counts else None

    @property
    def max(self) -> int | None:
        """The greatest value, or None when there is none."""
        return self.greatest_us if self.counts else None

    @property
    def mean(self) -> float | None:
        """The arithmetic mean, or None when there is none."""
        return self.total_us / self.count if self.counts else None

    def percentiles(self, wanted: Iterable[float]) -> dict[float, int | None]:
        """Return the value at or below which each of the `wanted` percentages of values lie."""
        if not self.counts:
            return dict.fromkeys(wanted)
        found = self._hdr().get_percentile_to_value_dict(list(wanted))
        return {percent: min(value, self.greatest_us) for percent, value in found.items()}

    def encode(self) -> dict[str, Any]:
        """Return plain data for JSON: buckets in HdrHistogram's own V2 format, base64."""
        plain = {**vars(self), "hdr": self._hdr().encode().decode("ascii")}
        del plain["counts"]
        return plain

    @classmethod
    def decode(cls, plain: Mapping[str, Any]) -> "Histogram":
        """Undo `encode`."""
        others = {name: value for name, value in plain.items() if name != "hdr"}
        hdr = HdrHistogram.decode(plain["hdr"])
        counts = {
            _bucket(step.value_iterated_to): step.count_at_value_iterated_to
            for step in hdr.get_recorded_iterator()
        }
        return cls(Counter(counts), **others)

    def _hdr(self) -> HdrHistogram:
        hdr = HdrHistogram(1, HIGHEST_US, DIGITS)
        for value, count in self.counts.items():
            hdr.record_value(value, count)
        return hdr


class Recorder:
    """The hot path's notebook: one process's counts since they were last taken.

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

    def take(self) -> "Summary":
        """Return all that was counted since the last call, and forget it."""
        self._settle()
        taken = Summary(
            service=Histogram.of(self.service),
            status=self._statuses,
            failures=self._failures,
            bytes_received=self._octets,
        )
        self.service.clear()  # in place: connections hold its append
        self._statuses, self._failures = Counter(), Counter()
        self._read = self._octets = 0
        return taken

    def _settle(self) -> None:
        """Count the status and the octets of the replies that were only recognised."""
        if recognised := len(self.service) - self._read:
            self._statuses[self._status] += recognised
            self._octets += recognised * self._length
            self._read += recognised


@dataclass(kw_only=True)
class Summary:
    """All that was counted in a run, or in any part of it.

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

    def merge(self, other: "Summary") -> None:
        """Count another part of the same run."""
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
