"""How many requests a client may make in a time: a table with a bound, and time as an argument."""

import re
from fcntl import LOCK_EX, LOCK_UN, lockf
from mmap import mmap
from struct import Struct
from threading import RLock
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

NANOSECONDS = 1_000_000_000
"""In a second."""
MAX_NUMBER = 1_000_000
"""The largest number in a rate: their product with an hour still fits into 64 bits."""

_FORM = re.compile(r"([0-9]{1,9})/([smh])(?::([0-9]{1,9}))?", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3_600}

_WAYS = 4  # places in a set
_SET = Struct(f"{2 * _WAYS}q")
_SLOT = Struct("2q")  # a client's key, and its time in nanoseconds


class Rate(NamedTuple):
    """How often a client may ask: once in each interval, of which it may save up for a burst.

    interval: nanoseconds. burst: requests that may come at once.
    """

    interval: int
    burst: int


def parse_rate(text: str) -> Rate:
    """Return the rate that a text such as 100/s or 10/m:30 means; raises ValueError.

    Without a burst it is what one unit of time allows.
    """
    match = _FORM.fullmatch(text)
    if not match:
        raise ValueError(f"must be N/s, N/m or N/h, with :BURST if wanted, not {text!r}")
    number, burst = int(match[1]), int(match[3] or match[1])
    if not (1 <= number <= MAX_NUMBER and 1 <= burst <= MAX_NUMBER):
        raise ValueError(f"must have numbers from 1 to {MAX_NUMBER:,}, not {text!r}")
    return Rate(_UNITS[match[2]] * NANOSECONDS // number, burst)


class RequestCounts:
    """What clients have left of their rates, in memory of a fixed size. Any thread may use it.

    Of a client one number is kept: when it will have all of its burst again, as if it had never
    asked (the generic cell rate algorithm). A request moves that by one interval; one that would
    move it further than the burst reaches is refused, and moves nothing. A client whose time has
    come needs no place.

    A place is one of four that follow from the client's key. If none is free, the client that is
    closest to its time loses it: it has its burst back a little too soon. So no address keeps out
    another one, however many there are.
    """

    def __init__(self, memory: "WriteableBuffer") -> None:
        self._memory = memory
        self._sets = memoryview(memory).nbytes // _SET.size
        self._lock = RLock()  # a signal handler may count as well, within any step

    @property
    def places(self) -> int:
        """How many clients there is room for."""
        return self._sets * _WAYS

    def take(self, key: int, rate: Rate, now: int) -> int:
        """Count a request. Return 0, or in how many nanoseconds the next one is allowed.

        key: 64 bits that stand for the client and its rate. now: nanoseconds, by the wall clock; if
        that is set back, clients have their burst again.
        """
        with self._lock:
            return self._take(key % self._sets * _SET.size, key, rate, now)

    def _take(self, start: int, key: int, rate: Rate, now: int) -> int:
        """Count a request in the set that begins at an offset."""
        interval, burst = rate
        numbers = _SET.unpack_from(self._memory, start)
        keys, ends = numbers[::2], numbers[1::2]
        if key in keys:
            at = keys.index(key)
            end = ends[at] if now < ends[at] <= now + burst * interval else now
            wait: int = end - now - (burst - 1) * interval
            if wait > 0:
                return wait
        else:
            at, end = ends.index(min(ends)), now
        _SLOT.pack_into(self._memory, start + at * _SLOT.size, key, end + interval)
        return 0


class SharedRequestCounts(RequestCounts):
    """The same for several processes, in a file in memory that all of them have.

    Each locks the set that it changes. The kernel gives up the lock of a process that dies.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(mmap(descriptor, 0))
        self._descriptor = descriptor

    def _take(self, start: int, key: int, rate: Rate, now: int) -> int:
        lockf(self._descriptor, LOCK_EX, _SET.size, start)
        try:
            return super()._take(start, key, rate, now)
        finally:
            lockf(self._descriptor, LOCK_UN, _SET.size, start)
