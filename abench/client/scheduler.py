"""Starts requests when they are due, each on a free connection."""

import asyncio
import math
import time
from collections import deque
from typing import Protocol

from abench.client.timerfd import Timer
from abench.plan.schedule import ArrivalSchedule

LATE_US = 1_000  # a start more than this after it was due is late

_clock = time.perf_counter_ns
_NEVER = 1 << 62


class RequestStarter(Protocol):
    """What a request can be started on."""

    def start(self, due_us: int, now_us: int) -> None:
        """Start the request that was due, in microseconds of the monotonic clock."""

    def finish(self) -> None:
        """Note that there is nothing more to start."""


class Scheduler:
    """Keeps a schedule. A due request that finds no free connection waits, in order, for the next.

    Nothing is stored for waiting requests: the schedule stands still at the first of them.
    `remaining` is how many requests may still start. `started` counts requests since the last
    `take_counts`; `late` are those of them that started more than a millisecond after they were
    due, because no connection was free or this process was delayed. `last_start_ns` is how long
    after counting began the last of all started; 0 as long as there may be another.
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
        self._until_ns = _NEVER  # what is due later is not part of this run
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

    def start_counting(self, max_requests: int) -> None:
        """Count from here on, and start at most `max_requests` more."""
        self._is_counting = True
        self.remaining = max_requests
        self.started = self.late = 0
        if self._origin_ns:  # after a warm-up
            self._counts_from_ns = _clock()
            if self._duration_ns is not None:
                self._until_ns = self._counts_from_ns + self._duration_ns

    def add_free(self, starter: RequestStarter) -> None:
        """Give a free connection the first waiting request, or the next one when it is due."""
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
        """Return how many requests have started since the last call, and how many of them late."""
        counts = self.started, self.late
        self.started = self.late = 0
        return counts

    @property
    def free_count(self) -> int:
        """How many free connections wait for a request to be due."""
        return len(self._free)

    def longest_wait_us(self, now_us: int) -> int:
        """Return for how many us the first due request that has not started has waited by now."""
        until_ns = min(1000 * now_us, self._until_ns) if self.remaining else 0
        return max(0, until_ns - self._next_ns) // 1000

    def skipped(self, now_us: int, before_s: float = math.inf) -> int:
        """Return how many requests, due by now and before `before_s`, have not started."""
        if self._next_ns == _NEVER or not self.remaining:
            return 0
        after_s = (min(1000 * now_us, self._until_ns) - self._origin_ns) / 1e9
        return min(self._schedule.missed(self._number, min(before_s, after_s)), self.remaining)

    def since_origin_us(self, at_us: int) -> int:
        """Return how many us after the start of the schedule a moment of the monotonic clock is."""
        return at_us - self._origin_ns // 1000

    def close(self) -> None:
        """Start no more requests."""
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
        """Return whether no more will start; a run of a given length lasts that long anyway."""
        exhausted = self._next_ns == _NEVER and bool(self._origin_ns) and self._duration_ns is None
        return not self.remaining or exhausted

    def _finish_free(self) -> None:
        while self._free:
            self._free.popleft().finish()
