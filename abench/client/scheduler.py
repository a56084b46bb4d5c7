"""Starts requests when they are due, each on a connection that is free."""

import asyncio
import math
import time
from collections import deque
from typing import Protocol

from abench.client.timerfd import Timer
from abench.plan.schedule import ArrivalSchedule

LATE_US = 1_000  # a start this long after it was due is a late one

_clock = time.perf_counter_ns
_NEVER = 1 << 62


class RequestStarter(Protocol):
    """What a request can be started on."""

    def start(self, due_us: int, now_us: int) -> None:
        """Start the request that was due, in microseconds of the monotonic clock."""

    def finish(self) -> None:
        """Take note that there is nothing more to start."""


class Scheduler:
    """Keeps a schedule. What is due and finds no free connection waits, in order, for the next.

    Nothing is kept for what waits: the schedule stands still at the first of it. `left` is how
    many requests may still start; of those `started` since the last `take_counts`, `late` are those
    that started more than a millisecond after they were due, because no connection was free or this
    process was held up. `last_ns` is how long after
    the clock's start the last of all started; 0 as long as there may be another.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, schedule: ArrivalSchedule, duration_s: float | None
    ) -> None:
        self.remaining = _NEVER
        self.started = self.late = self.last_start_ns = 0
        self._schedule = schedule
        self._times = schedule.times()
        self._free: deque[RequestStarter] = deque()
        self._timer = Timer(loop, self._start_due)
        self._duration_ns = None if duration_s is None else round(duration_s * 1e9)
        self._is_counting = False
        self._until_ns = _NEVER  # what is due later is none of this run's
        self._origin_ns = self._counts_from_ns = 0
        self._number = 0.0
        self._next_ns = _NEVER

    def start(self) -> None:
        """Start the schedule's clock."""
        self._origin_ns = self._counts_from_ns = _clock()
        if self._is_counting and self._duration_ns is not None:
            self._until_ns = self._origin_ns + self._duration_ns
        self._advance()
        self._start_due()

    def start_counting(self, left: int) -> None:
        """Count from here on, and start so many more at most."""
        self._is_counting = True
        self.remaining = left
        self.started = self.late = 0
        if self._origin_ns:  # behind a warm-up
            self._counts_from_ns = _clock()
            if self._duration_ns is not None:
                self._until_ns = self._counts_from_ns + self._duration_ns

    def add_free(self, starter: RequestStarter) -> None:
        """Take what is free: it starts the first request that waits, or the next that is due."""
        if self._has_ended():
            starter.finish()
            return
        now_ns = _clock()
        if self._next_ns <= now_ns:
            self._start(starter, now_ns)
        else:
            self._free.append(starter)
            if len(self._free) == 1:
                self._timer.set(self._next_ns)

    def take_counts(self) -> tuple[int, int]:
        """Return how many have started, and how many of them late, since the last call."""
        taken = self.started, self.late
        self.started = self.late = 0
        return taken

    @property
    def free_count(self) -> int:
        """How many of what was taken wait for something to be due."""
        return len(self._free)

    def longest_wait_us(self, now_us: int) -> int:
        """Return how long the first request that is due and not started has waited by now."""
        until_ns = min(1000 * now_us, self._until_ns) if self.remaining else 0
        return max(0, until_ns - self._next_ns) // 1000

    def skipped(self, now_us: int, before_s: float = math.inf) -> int:
        """Return how many requests are due by now, before a second, and were never started."""
        if self._next_ns == _NEVER or not self.remaining:
            return 0
        after_s = (min(1000 * now_us, self._until_ns) - self._origin_ns) / 1e9
        return min(self._schedule.missed(self._number, min(before_s, after_s)), self.remaining)

    def since_origin_us(self, at_us: int) -> int:
        """Return how long after the schedule's start a moment of the monotonic clock is."""
        return at_us - self._origin_ns // 1000

    def close(self) -> None:
        """Start nothing any more."""
        self._timer.close()

    def _start_due(self) -> None:
        now_ns = _clock()
        while self._free and self._next_ns <= now_ns:
            self._start(self._free.popleft(), now_ns)
        if self._free and self._next_ns != _NEVER:
            self._timer.set(self._next_ns)

    def _start(self, starter: RequestStarter, now_ns: int) -> None:
        due_us, now_us = self._next_ns // 1000, now_ns // 1000
        self.remaining -= 1
        self.started += 1
        self.late += now_us - due_us > LATE_US
        self._advance()
        starter.start(due_us, now_us)
        if self._has_ended():
            self.last_start_ns = now_ns - self._counts_from_ns
            self._finish_free()

    def _advance(self) -> None:
        self._number, after_ns = next(self._times, (self._number, _NEVER))
        self._next_ns = self._origin_ns + after_ns
        if self._next_ns >= self._until_ns or after_ns == _NEVER:
            self._next_ns = _NEVER

    def _has_ended(self) -> bool:
        """Tell whether nothing more will start; a run of a given length lasts that long anyway."""
        over = self._next_ns == _NEVER and bool(self._origin_ns) and self._duration_ns is None
        return not self.remaining or over

    def _finish_free(self) -> None:
        while self._free:
            self._free.popleft().finish()
