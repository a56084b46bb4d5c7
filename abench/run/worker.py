"""One process of a run: a share of the Plan on an event loop, its counts sent on as they come."""

import asyncio
import gc
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

from abench.client import factory
from abench.client.connection import Connection, ConnectionPool
from abench.client.connector import Connector
from abench.errors import AbenchError
from abench.plan.plan import Plan
from abench.stats.coverage import Coverage
from abench.stats.histogram import LatencyBuffer
from abench.stats.summary import REPORT_INTERVAL_S, ResourceUsage, Summary

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop

_clock = time.perf_counter_ns

LOOP = new_event_loop.__module__.partition(".")[0]  # "uvloop" or "asyncio"
CONNECT_LIMIT_S = 60.0
MAX_CONNECTING = 64  # few enough for a listen backlog of 128, the commonest
START = b"g"
START_COUNTING = b"c"
LAG_INTERVAL_S = 0.01
STALL_NS = 1_000_000_000  # a timer this late was no busy loop: the process did not run


@dataclass(frozen=True, slots=True)
class Ready:
    """This share waits for the start with `standing` connections open."""

    open_connections: int


@dataclass(frozen=True, slots=True)
class Started:
    """This share has taken the order to start, and has started."""


@dataclass(frozen=True, slots=True)
class WarmupUpdate:
    """What was counted of the warm-up since the last message."""

    part: Summary


@dataclass(frozen=True, slots=True)
class Finished:
    """This share has ended; `last` is what it had not sent before."""

    last: Summary


@dataclass(frozen=True, slots=True)
class WorkerError:
    """This share has ended by an error: of abench itself, unless `exit_code` says otherwise."""

    reason: str
    exit_code: int = AbenchError.exit_code


Message = Ready | Started | WarmupUpdate | Summary | Finished | WorkerError


def serve(plan: Plan, orders: int, send: Callable[[Message], object]) -> None:
    """Carry out `plan` and `send` a Ready, a Started, then Summaries, then a Done.

    `orders` is a pipe's descriptor: GO on it is the start, COUNT the end of the warm-up where the
    plan has one; its end stops the run at any time, and comes by itself when the parent dies.
    """
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(WorkerRun(plan, orders, send).run())


class WorkerRun:
    """One process's part of a run, from the first connection to the last count."""

    def __init__(self, plan: Plan, orders: int, send: Callable[[Message], object]) -> None:
        self._plan = plan
        self._orders = orders
        self._send = send
        self._started = asyncio.Event()
        self._stopped = asyncio.Event()
        self._gave_up = 0
        self._counting_since_ns = self._cpu_before_ns = (
            0  # when counting began, and the processor time until then, ns
        )
        self._tick_due = self._ticked = 0
        self._answered = 0  # replies that had come at the last tick
        self._answering = Coverage()
        self._lags = LatencyBuffer()
        self._fault: BaseException | None = None

    async def run(self) -> None:
        """Open the connections, wait for the start, load the server, tell what was counted."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._on_loop_error)
        dialer = Connector(self._plan)
        self._pool = ConnectionPool(
            self._plan, factory.connection_class(self._plan), dialer, self._stopped.set
        )
        self._loop.add_reader(self._orders, self._read_order)
        try:
            await self._open_all()
            _freeze_memory()  # 40 ms, which are nobody's before the start
            self._send(Ready(self._pool.open_connections))
            await self._started.wait()
            await self._load()
        finally:
            self._loop.remove_reader(self._orders)
        if self._fault:
            raise self._fault

    async def _open_all(self) -> None:
        """Open every connection before the clock starts, a few at a time.

        One that does not open in time begins the run as a lost one does, and is counted there.
        Without keep-alive nothing can be opened ahead: a connection is part of its request.
        """
        if not self._plan.keep_alive:
            return
        gate = asyncio.Semaphore(MAX_CONNECTING)
        tasks = [self._loop.create_task(self._open(gate, each)) for each in self._pool.connections]
        await asyncio.wait(tasks, timeout=max(CONNECT_LIMIT_S, self._plan.timeout_s))
        for task in tasks:
            task.cancel()

    async def _open(self, gate: asyncio.Semaphore, connection: Connection) -> None:
        async with gate:
            await connection.connect(self._plan.timeout_s)

    async def _load(self) -> None:
        """Load the server until the end of the time or of the requests."""
        if not self._stopped.is_set():
            self._start()
        await self._stopped.wait()
        last = (
            self._final(_clock()) if self._counting_since_ns else Summary()
        )  # a signal ended the warm-up
        last.paused_ns = self._pool.count_paused(0)
        last.unfinished = self._pool.stop()
        last.gave_up, last.warmup_requests = self._gave_up, self._pool.excluded
        last.costs = [self._resource_usage(last.elapsed_ns)]
        self._send(Finished(last))

    def _final(self, now: int) -> Summary:
        """Return what was not sent before, and what is known at the end alone."""
        self._note_answers(now)
        last = self._take_summary()
        last.elapsed_ns = now - self._counting_since_ns
        self._pool.record_waits(last, now // 1000)
        self._pool.record_stages(last, now // 1000)
        if dispatcher := self._pool.scheduler:
            last.skipped = dispatcher.skipped(now // 1000)
            last.last_start_ns = dispatcher.last_start_ns
        return last

    def _start(self) -> None:
        self._last_open_at, self._swept = self._loop.time(), 0
        if not self._plan.warms_up:
            self._start_counting()
        self._pool.start()
        self._send(Started())
        self._schedule_report()
        self._expire_overdue()

    def _start_counting(self) -> None:
        """Start the clock: what was before it was warm-up."""
        before = self._pool.start_counting()
        if self._plan.warms_up:
            self._send(WarmupUpdate(before))
        if self._plan.duration_s is not None:
            self._loop.call_later(self._plan.duration_s, self._stopped.set)
        self._counting_since_ns, self._cpu_before_ns = _clock(), time.process_time_ns()
        self._tick_due = self._ticked = self._counting_since_ns
        self._answered = self._pool.responses
        self._tick()

    def _tick(self) -> None:
        """Take note of how late this is."""
        now = _clock()
        self._lags.add(max(0, (now - self._tick_due) // 1000))
        self._note_answers(now)
        self._tick_due = now + round(LAG_INTERVAL_S * 1e9)
        if not self._stopped.is_set():
            self._loop.call_later(LAG_INTERVAL_S, self._tick)

    def _note_answers(self, now: int) -> None:
        """Take note of whether the server answered since this was last done.

        It did if replies came, or nobody waited for any.

        Where this process itself stood still nobody can tell, and the server is not blamed for it.
        """
        if now <= self._ticked:
            return
        answered, late = self._pool.responses, now - self._tick_due > STALL_NS
        if answered != self._answered or late or not self._pool.is_waiting:
            begin, end = self._ticked - self._counting_since_ns, now - self._counting_since_ns
            self._answering.add(begin // 1_000_000, end // 1_000_000)
        self._answered, self._ticked = answered, now

    def _resource_usage(self, elapsed_ns: int) -> ResourceUsage:
        used = time.process_time_ns() - self._cpu_before_ns if self._counting_since_ns else 0
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return ResourceUsage(used, elapsed_ns, peak, self._lags.histogram())

    def _take_summary(self) -> Summary:
        """Return what was counted since the last time, as of the second in which most of it was."""
        since_s = (_clock() - self._counting_since_ns) / 1e9 - REPORT_INTERVAL_S / 2
        taken = self._pool.take_summary(max(0, int(since_s)))
        taken.answering, self._answering = self._answering, Coverage()
        taken.samples = [one.since(self._counting_since_ns // 1000) for one in taken.samples]
        return taken

    def _report(self) -> None:
        """Send what was counted since the last beat."""
        if self._stopped.is_set():
            return
        taken = self._take_summary()
        self._send(taken if self._counting_since_ns else WarmupUpdate(taken))
        self._schedule_report()

    def _schedule_report(self) -> None:
        self._loop.call_later(
            until_next_report((_clock() - self._counting_since_ns) / 1e9), self._report
        )

    def _expire_overdue(self) -> None:
        """Look for what takes too long; ten times within the limit, so it is at most 10 % late."""
        if self._stopped.is_set():
            return
        self._pool.expire_overdue()
        answered = self._pool.responses
        if self._pool.open_connections or answered != self._swept or not self._pool.is_waiting:
            self._last_open_at, self._swept = self._loop.time(), answered
        elif self._plan.requests and self._loop.time() - self._last_open_at > self._plan.timeout_s:
            self._gave_up = 1  # a number of requests has no end of its own on a dead server
            self._stopped.set()
        self._loop.call_later(min(max(self._plan.timeout_s / 10, 0.01), 0.25), self._expire_overdue)

    def _read_order(self) -> None:
        """Read an order: the start, the end of the warm-up, or of the pipe, which ends the run."""
        order = os.read(self._orders, 1)
        if order == START_COUNTING:
            if not self._stopped.is_set():
                self._start_counting()
            return
        if order != START:
            self._loop.remove_reader(self._orders)
            self._stopped.set()
            if not self._started.is_set():
                self._pool.stop()  # the connections need not be waited for
        self._started.set()

    def _on_loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """Take what a callback raised. Of a failed connection, connection_lost tells as well."""
        error = context.get("exception")
        if isinstance(error, BaseException) and not isinstance(error, OSError):
            self._fault = self._fault or error
            self._stopped.set()


def until_next_report(since_s: float) -> float:
    """Return the seconds until the next beat, of a clock that was started `since_s` ago.

    Beats keep to the clock: each late by a little, they would wander through the seconds, and leave
    every so often a second of the series with a fifth too many or too few.
    """
    return (round(since_s / REPORT_INTERVAL_S) + 1) * REPORT_INTERVAL_S - since_s


def _freeze_memory() -> None:
    """Let the collector overlook all that stands: a run makes next to no cycles of its own."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
