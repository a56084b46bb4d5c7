"""Starts requests when they are due, each on a connection that is free."""

import asyncio
import math
import time
from collections import deque
from typing import Protocol

from abench.alarm import Alarm
from abench.pacing import Timing

LATE_US = 1_000  # a start this long after it was due is a late one

_clock = time.perf_counter_ns
_NEVER = 1 << 62


class Starter(Protocol):
    """What a request can be started on."""

    def start(self, due_us: int, now_us: int) -> None:
        """Start the request that was due, in microseconds of the monotonic clock."""

    def retire(self) -> None:
        """Take note that there is nothing more to start."""


class Dispatcher:
    """Keeps a schedule. What is due and finds no free connection waits, in order, for the next.

    Nothing is kept for what waits: the schedule stands still at the first of it. `left` is how
    many requests may still start; of those `started` since the last `take_counts`, `late` are those
    that started more than a millisecond after they were due, because no connection was free or this
    process was held up. `last_ns` is how long after
    the clock's start the last of all started; 0 as long as there may be another.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, schedule: Timing, duration_s: float | None
    ) -> None:
        self.left = _NEVER
        self.started = self.late = self.last_ns = 0
        self._schedule = schedule
        self._times = schedule.times()
        self._free: deque[Starter] = deque()
        self._alarm = Alarm(loop, self._ring)
        self._duration_ns = None if duration_s is None else round(duration_s * 1e9)
        self._counts = False
        self._until_ns = _NEVER  # what is due later is none of this run's
        self._origin_ns = self._counts_from_ns = 0
        self._number = 0.0
        self._next_ns = _NEVER

    def begin(self) -> None:
        """Start the schedule's clock."""
        self._origin_ns = self._counts_from_ns = _clock()
        if self._counts and self._duration_ns is not None:
            self._until_ns = self._origin_ns + self._duration_ns
        self._advance()
        self._ring()

    def count(self, left: int) -> None:
        """Count from here on, and start so many more at most."""
        self._counts = True
        self.left = left
        self.started = self.late = 0
        if self._origin_ns:  # behind a warm-up
            self._counts_from_ns = _clock()
            if self._duration_ns is not None:
                self._until_ns = self._counts_from_ns + self._duration_ns

    def take(self, starter: Starter) -> None:
        """Take what is free: it starts the first request that waits, or the next that is due."""
        if self._has_ended():
            starter.retire()
            return
        now_ns = _clock()
        if self._next_ns <= now_ns:
            self._start(starter, now_ns)
        else:
            self._free.append(starter)
            if len(self._free) == 1:
                self._alarm.set(self._next_ns)

    def take_counts(self) -> tuple[int, int]:
        """Return how many have started, and how many of them late, since the last call."""
        taken = self.started, self.late
        self.started = self.late = 0
        return taken

    @property
    def free(self) -> int:
        """How many of what was taken wait for something to be due."""
        return len(self._free)

    def longest_wait_us(self, now_us: int) -> int:
        """Return how long the first request that is due and not started has waited by now."""
        until_ns = min(1000 * now_us, self._until_ns) if self.left else 0
        return max(0, until_ns - self._next_ns) // 1000

    def skipped(self, now_us: int, before_s: float = math.inf) -> int:
        """Return how many requests are due by now, before a second, and were never started."""
        if self._next_ns == _NEVER or not self.left:
            return 0
        after_s = (min(1000 * now_us, self._until_ns) - self._origin_ns) / 1e9
        return min(self._schedule.missed(self._number, min(before_s, after_s)), self.left)

    def since_origin_us(self, at_us: int) -> int:
        """Return how long after the schedule's start a moment of the monotonic clock is."""
        return at_us - self._origin_ns // 1000

    def close(self) -> None:
        """Start nothing any more."""
        self._alarm.close()

    def _ring(self) -> None:
        now_ns = _clock()
        while self._free and self._next_ns <= now_ns:
            self._start(self._free.popleft(), now_ns)
        if self._free and self._next_ns != _NEVER:
            self._alarm.set(self._next_ns)

    def _start(self, starter: Starter, now_ns: int) -> None:
        due_us, now_us = self._next_ns // 1000, now_ns // 1000
        self.left -= 1
        self.started += 1
        self.late += now_us - due_us > LATE_US
        self._advance()
        starter.start(due_us, now_us)
        if self._has_ended():
            self.last_ns = now_ns - self._counts_from_ns
            self._dismiss()

    def _advance(self) -> None:
        self._number, after_ns = next(self._times, (self._number, _NEVER))
        self._next_ns = self._origin_ns + after_ns
        if self._next_ns >= self._until_ns or after_ns == _NEVER:
            self._next_ns = _NEVER

    def _has_ended(self) -> bool:
        """Tell whether nothing more will start; a run of a given length lasts that long anyway."""
        over = self._next_ns == _NEVER and bool(self._origin_ns) and self._duration_ns is None
        return not self.left or over

    def _dismiss(self) -> None:
        while self._free:
            self._free.popleft().retire()
