"""The requests of an access log and their times, packed, in the order of their replay."""

import operator
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, islice
from typing import overload

from abench.plan.packed_bytes import PackedBytes

# RFC 9110 section 9.2.1: only safe methods are replayed. Others would change something again.
METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
MAX_NUMBERS = 5  # of the lines that are not understood, so many are named
_SORT_BUCKETS = 4_096


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One request of a log; `at_s` is in seconds from the first, `resource` in origin-form."""

    at_s: float
    method: str
    resource: str


class LogEntries(Sequence[LogEntry]):
    """The requests of a log, packed: each takes little more memory than its resource.

    `times_s` has when each was made, in the order in which they are replayed.
    """

    def __init__(self) -> None:
        self.methods = list(METHODS)
        self.times_s = array("d")
        self._methods = array("B")
        self._resources = PackedBytes()
        self._order: array[int] | None = None  # positions in the log, if not in order

    @classmethod
    def of(cls, entries: Sequence[LogEntry]) -> "LogEntries":
        """Return any sequence of entries as LogEntries, in the same order and with its methods."""
        if isinstance(entries, cls):
            return entries
        packed = cls()
        packed.methods = sorted({entry.method for entry in entries})
        packed.add(
            [entry.at_s for entry in entries],
            [packed.methods.index(entry.method) for entry in entries],
            [entry.resource.encode(errors="surrogateescape") for entry in entries],
        )
        return packed

    def add(
        self, times_s: Iterable[float], methods: Iterable[int], resources: Sequence[bytes]
    ) -> None:
        """Append entries, by columns; a method is an index into `methods`."""
        self.times_s.extend(times_s)
        self._methods.extend(methods)
        self._resources.extend(resources)

    def arrange(self) -> None:
        """Sort the entries by time, and count the times from the first."""
        times_s = self.times_s
        if not all(map(operator.le, times_s, islice(times_s, 1, None))):
            self._order = _sorted(times_s)
            times_s = array("d", map(times_s.__getitem__, self._order))
        self.times_s = _spread_evenly(times_s)

    def key(self, index: int) -> tuple[int, bytes]:
        """Return the request of one entry: the index of its method, and the resource."""
        position = index if self._order is None else self._order[index]
        return self._methods[position], self._resources[position]

    @cached_property
    def frequencies(self) -> Counter[tuple[int, bytes]]:
        """How often each different request was made."""
        return Counter(map(self.key, range(len(self))))

    def __len__(self) -> int:
        return len(self.times_s)

    @overload
    def __getitem__(self, index: int) -> LogEntry: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[LogEntry, ...]: ...

    def __getitem__(self, index: int | slice) -> LogEntry | tuple[LogEntry, ...]:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(len(self))))
        method, resource = self.key(range(len(self))[index])
        return LogEntry(
            self.times_s[index], self.methods[method], resource.decode(errors="replace")
        )


def _sorted(times_s: "array[float]") -> "array[int]":
    """Return the indices of times in order. Buckets avoid a list with an object for each time."""
    first = min(times_s)
    width = (max(times_s) - first) / _SORT_BUCKETS or 1.0
    buckets: defaultdict[int, array[int]] = defaultdict(lambda: array("I"))
    for index, at_s in enumerate(times_s):
        buckets[int((at_s - first) / width)].append(index)
    order = array("I")
    for bucket in sorted(buckets):
        order.extend(sorted(buckets[bucket], key=times_s.__getitem__))
    return order


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How many lines of a log are not replayed, by reason; of HAR and of arrays, how many entries.

    `unsafe` ones have a method that would change something again; in `no_request` the server got
    something that was none for a resource; `elsewhere` another server got it, or the browser's
    cache answered. `numbers` are those of the first lines that are not understood, from 1; what is
    counted is a `unit`.
    """

    unsafe: int = 0
    no_request: int = 0
    elsewhere: int = 0
    not_understood: int = 0
    numbers: tuple[int, ...] = ()
    unit: str = "line"

    @property
    def total(self) -> int:
        """How many lines are not replayed."""
        return self.unsafe + self.no_request + self.elsewhere + self.not_understood


def list_numbers(numbers: tuple[int, ...], total: int) -> str:
    """Return the numbers of the first of `total` lines as text."""
    more = ", ..." if total > len(numbers) else ""
    return f"{', '.join(map(str, numbers))}{more}"


NOTHING_LEFT_OUT = LeftOut()


@dataclass(frozen=True, slots=True)
class RecordedLog:
    """The requests of a log in the order of their times, the first at 0."""

    entries: Sequence[LogEntry]
    left_out: LeftOut = NOTHING_LEFT_OUT

    @property
    def skipped(self) -> int:
        """How many lines are not replayed."""
        return self.left_out.total

    def times_s(self) -> tuple[float, ...]:
        """Return when each request was made, in seconds from the first."""
        return tuple(LogEntries.of(self.entries).times_s)


def _spread_evenly(times_s: "array[float]") -> "array[float]":
    """Count from the first. If only whole seconds are known, spread requests evenly within each.

    No client sent a burst at the start of each second. But a log that has a fraction anywhere has
    them everywhere, and requests at the same moment in it were simultaneous.
    """
    first = times_s[0] if times_s else 0.0
    if not all(map(float.is_integer, times_s)):
        return array("d", (at_s - first for at_s in times_s))
    spread = array("d")
    for at_s, same in groupby(times_s):
        count = len(list(same))
        spread.extend([at_s - first + number / count for number in range(count)])
    return spread
