"""What the connections of one process share: the counts, the workload, the schedule, the clock."""

import asyncio
import math
import random
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from abench.client.connector import Connector
from abench.client.response_parser import ResponseParser
from abench.client.scheduler import Scheduler
from abench.plan.plan import Plan
from abench.plan.request import IDEMPOTENT_METHODS
from abench.plan.schedule import Backoff
from abench.plan.workload import ExpectedResponse
from abench.stats.group_recorder import GroupRecorder
from abench.stats.groups import GroupStats
from abench.stats.histogram import Histogram
from abench.stats.mix_recorder import MixRecorder
from abench.stats.recorder import Recorder
from abench.stats.stages import StageRecorder, StageStats
from abench.stats.summary import Summary

_clock = time.perf_counter_ns
_UNLIMITED = cast("int", math.inf)  # a countdown that never reaches zero
_READ_SIZE = 65_536  # bytes per read


class PooledConnection(Protocol):
    """What a pool needs of its connections.

    `sent_at` is when the request in flight was sent, in microseconds of the monotonic clock; 0
    when there is none.
    """

    sent_at: int

    @property
    def is_open(self) -> bool:
        """Whether the connection is open."""

    @property
    def stage(self) -> StageRecorder | None:
        """The stage of the request in flight; None without one."""

    async def connect(self, limit_s: float) -> None:
        """Connect without a request; on failure, or after `limit_s` seconds, stay closed."""

    def send_next(self) -> None:
        """Start a request, if one remains."""

    def fail_overdue(self) -> None:
        """Fail the request in flight: its time is up."""

    def exclude_in_flight(self) -> None:
        """Exclude the request in flight from the counts."""

    def waits_us(self, now_us: int) -> list[tuple[int, int]]:
        """Return (since its start, since it was due) in us for each counted request in flight."""

    def groups_in_flight(self) -> Sequence[GroupRecorder | None]:
        """Return the group of each counted request in flight, in the order of `waits_us`."""

    def abort(self) -> int:
        """Close for good; return how many counted requests were in flight."""


class ConnectionPool:
    """What the connections of one process share.

    `connection_class` makes them and `connector` opens them. `remaining` is how many requests may
    still start; `scheduler` says when, if there is a schedule. `on_drained` is called when none
    remains and none is in flight.
    """

    def __init__(
        self,
        plan: Plan,
        connection_class: "Callable[[ConnectionPool], PooledConnection]",
        connector: Connector,
        on_drained: Callable[[], None],
    ) -> None:
        self.plan = plan
        self.connector = connector
        self.buffer = bytearray(_READ_SIZE)  # what was just received, on any connection
        self.view = memoryview(self.buffer)
        self.workload = plan.workload()
        only = None if plan.behavior.is_user else self.workload.only
        self.recorder = Recorder(len(only.request.encode(0)) if only else 0)
        # A plan whose requests are all alike has no groups: the run's own counts are theirs.
        count = len(plan.groups)
        self.groups = [MixRecorder(self.recorder) for _ in range(count)] if count > 1 else [None]
        self._shared_groups = plan.groups.shared
        self.keep_alive = plan.keep_alive
        self.retries = plan.method in IDEMPOTENT_METHODS
        self.backoff = Backoff()
        self.remaining = _UNLIMITED
        self.excluded = 0  # requests that were in flight when counting began
        self.limit_us = round(plan.timeout_s * 1e6)
        self.running = False
        self.thinking = 0  # connections that pause between requests, as users do
        self.random = random.Random(plan.part)  # noqa: S311 - for these pauses
        self.scheduler: Scheduler | None = None
        if plan.schedule:
            loop = asyncio.get_running_loop()
            self.scheduler = Scheduler(loop, plan.schedule, plan.duration_s)
        self.connections = [connection_class(self) for _ in range(plan.connections)]
        self._stage_ends_us = [int(end_s * 1e6) for end_s in plan.stage_ends_s]
        self._stages = [StageRecorder() for _ in self._stage_ends_us]
        self._max_requests = plan.requests or _UNLIMITED
        self._active = plan.connections
        self._on_drained = on_drained
        self._paused = self._paused_ns = 0  # paused connections, and their total time
        self._paused_since = _clock()

    @property
    def is_waiting(self) -> bool:
        """Whether a response or a connection is awaited.

        With a schedule all may be idle, and all users may think.
        """
        idle = self.scheduler.free_count if self.scheduler else self.thinking
        return idle < self._active

    @property
    def responses(self) -> int:
        """How many responses have been received so far."""
        return self.recorder.responses + self.excluded

    @property
    def open_connections(self) -> int:
        """How many connections are open."""
        return sum(connection.is_open for connection in self.connections)

    def start(self) -> None:
        """Start sending on every connection."""
        self.running = True
        for connection in self.connections:
            connection.send_next()
        if self.scheduler:
            self.scheduler.start()

    def start_counting(self) -> Summary:
        """Count from here on; return what was counted before, the warm-up.

        Requests in flight belong to the warm-up, whatever their outcome.
        """
        self._settle_groups()
        before = self.recorder.take()
        self.take_groups()
        for connection in self.connections:
            connection.exclude_in_flight()
        self.count_paused(0)
        self._paused_ns = 0
        self.remaining = self._max_requests
        if self.scheduler:
            self.scheduler.start_counting(self._max_requests)
        return before

    def count_paused(self, change: int) -> int:
        """Change the number of connections that pause before they reconnect, by `change`.

        Returns the total time that all connections have paused, in nanoseconds.
        """
        now = _clock()
        self._paused_ns += self._paused * (now - self._paused_since)
        self._paused += change
        self._paused_since = now
        return self._paused_ns

    def record_waits(self, summary: Summary, now_us: int) -> None:
        """Record how long the requests in flight have been waiting, before they are stopped."""
        waits = [wait for each in self.connections for wait in each.waits_us(now_us)]
        summary.waits = Histogram.of([wait for wait, _ in waits])
        if self.scheduler:
            due = [wait for _, wait in waits]
            if first := self.scheduler.longest_wait_us(now_us):
                due.append(first)
            summary.due_waits = Histogram.of(due)

    def stage_for(self, due_us: int) -> StageRecorder:
        """Return the recorder of the stage in which a request was due."""
        after_us = self.scheduler.since_origin_us(due_us) if self.scheduler else 0
        number = bisect_right(self._stage_ends_us, after_us)
        return self._stages[min(number, len(self._stages) - 1)]

    def take_summary(self, at_s: int) -> Summary:
        """Return and reset what was counted since the last call, as of the second `at_s`."""
        self._settle_groups()
        taken = self.recorder.take(at_s)
        if self.scheduler:
            taken.started, taken.late = self.scheduler.take_counts()
        for number, notes in enumerate(self._stages):
            if not notes.is_empty:
                taken.stages[number] = notes.take()
        return taken

    def _settle_groups(self) -> None:
        for group in self.groups:
            if group:
                group.settle()

    def take_groups(self, first: int = 0, step: int = 1) -> dict[int, GroupStats]:
        """Return and reset what was counted of every `step`th group from `first` on."""
        return {
            number: group.take()
            for number, group in list(enumerate(self.groups))[first::step]
            if group and not group.is_empty
        }

    def take_groups_at_end(self, now_us: int) -> dict[int, GroupStats]:
        """Return what was counted of each group, and how long its requests in flight waited."""
        waits: dict[GroupRecorder | None, list[tuple[int, int]]] = {}
        for each in self.connections:
            for group, wait in zip(each.groups_in_flight(), each.waits_us(now_us), strict=False):
                waits.setdefault(group, []).append(wait)
        return {
            number: group.take(waits.get(group, ()))
            for number, group in enumerate(self.groups)
            if group and not (group.is_empty and group not in waits)
        }

    def record_stages(self, summary: Summary, now_us: int) -> None:
        """Record the outcome of each stage, before the requests in flight are stopped."""
        if not (self._stages and self.scheduler):
            return
        waits: dict[StageRecorder, list[tuple[int, int]]] = {notes: [] for notes in self._stages}
        for each in self.connections:
            if each.stage:
                waits[each.stage] += each.waits_us(now_us)
        before = 0
        for number, (notes, end_s) in enumerate(
            zip(self._stages, self.plan.stage_ends_s, strict=True)
        ):
            stage = summary.stages.setdefault(number, StageStats())
            skipped = self.scheduler.skipped(now_us, end_s)
            first = [self.scheduler.longest_wait_us(now_us)] if skipped > before == 0 else []
            stage.record_waits(waits[notes], first)
            stage.skipped, before = skipped - before, skipped

    def stop(self) -> int:
        """Close every connection; return how many requests are left without an outcome."""
        self.running = False
        self.remaining = 0
        unfinished = sum(connection.abort() for connection in self.connections)
        self.connector.close()
        if self.scheduler:
            self.scheduler.close()
        return unfinished

    def expire_overdue(self) -> None:
        """Fail each request that has been in flight for longer than the limit.

        One pass over all connections several times a second costs less than one timer per request.
        """
        oldest = _clock() // 1000 - self.limit_us
        for connection in self.connections:
            if connection.sent_at and connection.sent_at < oldest:
                connection.fail_overdue()

    def learn_response(
        self, parser: ResponseParser, expected: ExpectedResponse, length: int
    ) -> None:
        """Remember a response just read, of `length` bytes, to recognize the next one like it."""
        is_usable = parser.keep_alive if self.keep_alive else not self.scheduler
        if not is_usable or expected.expectation.text:  # the head does not tell what a body has
            return
        head = parser.recognizable_head()
        if head is not None and head != expected.head:
            expected.head, expected.length, expected.status = head, length, parser.status
            group = self.groups[expected.group]
            if not group:
                self.recorder.recognize_as(parser.status, length)
            elif expected.request_size and expected.group not in self._shared_groups:
                group.expect(expected, parser.status, length, expected.request_size)

    def takes_error(self, _error: BaseException) -> bool:
        """Count an error that a task of the loop has raised, and return whether it is not ours."""
        return False

    def connection_done(self) -> None:
        """Note that one connection has nothing more to send."""
        self._active -= 1
        if not self._active:
            self._on_drained()
