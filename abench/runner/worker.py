"""One process of a run: carries out a share of the Plan and sends its counts as they come."""

import asyncio
import gc
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

from abench.client.connection_pool import PooledConnection
from abench.client.connector import connector_for
from abench.errors import AbenchError
from abench.plan.plan import Plan
from abench.runner.connections import connection_pool
from abench.stats.coverage import Coverage
from abench.stats.histogram import LatencyBuffer
from abench.stats.summary import REPORT_INTERVAL_S, ResourceUsage, Summary
from abench.system import threads

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop

_clock = time.perf_counter_ns

LOOP = new_event_loop.__module__.partition(".")[0]  # "uvloop" or "asyncio"
CONNECT_LIMIT_S = 60.0
MAX_CONNECTING = 64  # few enough for a listen backlog of 128, the most common
START = b"g"
START_COUNTING = b"c"
LAG_INTERVAL_S = 0.01
GROUP_REPORTS = 10  # reports in which all groups have their turn: a thousand at once take 50 ms
STALL_NS = 1_000_000_000  # a timer this late means that the process did not run


@dataclass(frozen=True, slots=True)
class Ready:
    """This share waits for the start with `open_connections` connections open."""

    open_connections: int


@dataclass(frozen=True, slots=True)
class Started:
    """This share has received the order to start, and has started."""


@dataclass(frozen=True, slots=True)
class WarmupUpdate:
    """The counts of the warm-up since the last message."""

    counts: Summary


@dataclass(frozen=True, slots=True)
class Finished:
    """This share has ended; `last` has the counts since the last message."""

    last: Summary


@dataclass(frozen=True, slots=True)
class WorkerError:
    """This share has failed with an error: of abench itself, unless `exit_code` says otherwise."""

    reason: str
    exit_code: int = AbenchError.exit_code


Message = Ready | Started | WarmupUpdate | Summary | Finished | WorkerError


def serve(plan: Plan, orders: int, send: Callable[[Message], object]) -> None:
    """Carry out `plan` and `send` a Ready, a Started, then Summaries, then a Finished.

    `orders` is the descriptor of a pipe: START on it starts the run, START_COUNTING ends the
    warm-up of a plan that has one. Its end stops the run at any time, and comes by itself when the
    parent dies.
    """
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(WorkerRun(plan, orders, send).run())


class WorkerRun:
    """One process of a run, from the first connection to the last count."""

    def __init__(self, plan: Plan, orders: int, send: Callable[[Message], object]) -> None:
        self._plan = plan
        self._orders = orders
        self._send = send
        self._started = asyncio.Event()
        self._stopped = asyncio.Event()
        self._gave_up = 0
        self._counting_since_ns = 0
        self._cpu_before_ns = 0  # processor time until counting began
        self._waited_before_ns = 0  # ready to run, without a core
        self._cpu_reported_ns = 0  # processor time until the last report
        self._tick_due = self._last_tick = 0
        self._reports = 0  # messages with counts that were sent
        self._responses_at_tick = 0  # responses received until the last tick
        self._unanswered_at_tick = 0  # requests that had failed without a response
        self._is_response_due = False  # since a request has failed without one
        self._answering = Coverage()
        self._lags = LatencyBuffer()
        self._error: BaseException | None = None

    async def run(self) -> None:
        """Open the connections, wait for the start, load the server, report the counts."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._on_loop_error)
        self._connector = connector_for(self._plan)
        self._pool = connection_pool(self._plan, self._connector, self._stopped.set)
        self._loop.add_reader(self._orders, self._read_order)
        try:
            await self._open_all()
            _freeze_memory()  # 40 ms, which count for nothing before the start
            self._send(Ready(self._pool.open_connections))
            await self._started.wait()
            await self._load()
        finally:
            self._loop.remove_reader(self._orders)
        if self._error:
            raise self._error

    async def _open_all(self) -> None:
        """Open every connection before the clock starts, a few at a time.

        One that does not open in time is retried and counted in the run, as a lost one is.
        Without keep-alive nothing can be opened ahead: a connection is part of its request.
        """
        if not self._plan.keep_alive:
            return
        limit = asyncio.Semaphore(MAX_CONNECTING)
        tasks = [self._loop.create_task(self._open(limit, each)) for each in self._pool.connections]
        await asyncio.wait(tasks, timeout=max(CONNECT_LIMIT_S, self._plan.timeout_s))
        for task in tasks:
            task.cancel()

    async def _open(self, limit: asyncio.Semaphore, connection: PooledConnection) -> None:
        async with limit:
            await connection.connect(self._plan.timeout_s)

    async def _load(self) -> None:
        """Load the server until the time or the requests are used up."""
        if not self._stopped.is_set():
            self._start()
        await self._stopped.wait()
        # Without counts, a signal has stopped the warm-up.
        last = self._final(_clock()) if self._counting_since_ns else Summary()
        last.paused_ns = self._pool.count_paused(0)
        last.unfinished = self._pool.stop()
        last.gave_up, last.warmup_requests = self._gave_up, self._pool.excluded
        last.addresses = self._connector.attempts()
        last.costs = [self._resource_usage(last.elapsed_ns)]
        self._send(Finished(last))

    def _final(self, now: int) -> Summary:
        """Return the counts since the last report, and what is known only at the end."""
        self._record_answering(now)
        last = self._take_summary()
        last.groups = self._pool.take_groups_at_end(now // 1000)
        last.elapsed_ns = now - self._counting_since_ns
        self._pool.record_waits(last, now // 1000)
        self._pool.record_stages(last, now // 1000)
        if scheduler := self._pool.scheduler:
            last.skipped = scheduler.skipped(now // 1000)
            last.last_start_ns = scheduler.last_start_ns
        return last

    def _start(self) -> None:
        self._last_progress_s, self._last_responses = self._loop.time(), 0
        if not self._plan.warms_up:
            self._start_counting()
        self._pool.start()
        self._send(Started())
        self._schedule_report()
        self._expire_overdue()

    def _start_counting(self) -> None:
        """Start the clock: all before it was warm-up."""
        before = self._pool.start_counting()
        if self._plan.warms_up:
            self._send(WarmupUpdate(before))
        if self._plan.duration_s is not None:
            self._loop.call_later(self._plan.duration_s, self._stopped.set)
        self._counting_since_ns, self._cpu_before_ns = _clock(), time.process_time_ns()
        self._waited_before_ns = threads.own_wait_ns()
        self._cpu_reported_ns = self._cpu_before_ns
        self._tick_due = self._last_tick = self._counting_since_ns
        self._responses_at_tick = self._pool.responses
        self._unanswered_at_tick = self._pool.recorder.unanswered
        self._tick()

    def _tick(self) -> None:
        """Record by how much this timer is late."""
        now = _clock()
        self._lags.add(max(0, (now - self._tick_due) // 1000))
        self._record_answering(now)
        self._tick_due = now + round(LAG_INTERVAL_S * 1e9)
        if not self._stopped.is_set():
            self._loop.call_later(LAG_INTERVAL_S, self._tick)

    def _record_answering(self, now: int) -> None:
        """Record whether the server has answered since the last call.

        It has if responses were received, or if none was awaited. One still is after a request that
        has failed without a response: with a schedule, nothing else may be under way by now. If
        this process itself did not run, that is unknown, and the server is not blamed for it.
        """
        if now <= self._last_tick:
            return
        pool, stalled = self._pool, now - self._tick_due > STALL_NS
        responses, unanswered = pool.responses, pool.recorder.unanswered
        has_answered = responses != self._responses_at_tick
        if has_answered or unanswered != self._unanswered_at_tick:
            self._is_response_due, self._unanswered_at_tick = not has_answered, unanswered
        if has_answered or stalled or not (pool.is_waiting or self._is_response_due):
            start, end = self._last_tick - self._counting_since_ns, now - self._counting_since_ns
            self._answering.add(start // 1_000_000, end // 1_000_000)
        self._responses_at_tick, self._last_tick = responses, now

    def _resource_usage(self, elapsed_ns: int) -> ResourceUsage:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        used = waited = 0
        if self._counting_since_ns:
            used = time.process_time_ns() - self._cpu_before_ns
            waited = threads.own_wait_ns() - self._waited_before_ns
        return ResourceUsage(used, elapsed_ns, peak, self._lags.histogram(), waited)

    def _take_summary(self) -> Summary:
        """Return the counts since the last call, as of the second in which most of them fell."""
        since_s = (_clock() - self._counting_since_ns) / 1e9 - REPORT_INTERVAL_S / 2
        counts = self._pool.take_summary(max(0, int(since_s)))
        counts.answering, self._answering = self._answering, Coverage()
        used_ns = time.process_time_ns()
        counts.cpu_ns, self._cpu_reported_ns = used_ns - self._cpu_reported_ns, used_ns
        counts.samples = [
            sample.since(self._counting_since_ns // 1000) for sample in counts.samples
        ]
        return counts

    def _report(self) -> None:
        """Send the counts since the last report."""
        if self._stopped.is_set():
            return
        counts = self._take_summary()
        self._reports += 1
        counts.groups = self._pool.take_groups(self._reports % GROUP_REPORTS, GROUP_REPORTS)
        self._send(counts if self._counting_since_ns else WarmupUpdate(counts))
        self._schedule_report()

    def _schedule_report(self) -> None:
        self._loop.call_later(
            until_next_report((_clock() - self._counting_since_ns) / 1e9), self._report
        )

    def _expire_overdue(self) -> None:
        """Fail overdue requests; ten times within the limit, so each is at most 10 % late."""
        if self._stopped.is_set():
            return
        pool, now_s = self._pool, self._loop.time()
        pool.expire_overdue()
        responses = pool.responses
        if pool.open_connections or responses != self._last_responses or not pool.is_waiting:
            self._last_progress_s, self._last_responses = now_s, responses
        elif self._plan.requests and now_s - self._last_progress_s > self._plan.timeout_s:
            self._gave_up = 1  # a number of requests would never end on a dead server
            self._stopped.set()
        self._loop.call_later(min(max(self._plan.timeout_s / 10, 0.01), 0.25), self._expire_overdue)

    def _read_order(self) -> None:
        """Read an order: the start, the end of the warm-up, or the end of the pipe, which stops."""
        order = os.read(self._orders, 1)
        if order == START_COUNTING:
            if not self._stopped.is_set():
                self._start_counting()
            return
        if order != START:
            self._loop.remove_reader(self._orders)
            self._stopped.set()
            if not self._started.is_set():
                self._pool.stop()  # stop opening connections
        self._started.set()

    def _on_loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """Keep the error of a callback. A failed connection is handled by connection_lost."""
        error = context.get("exception")
        if not isinstance(error, BaseException) or self._pool.takes_error(error):
            return
        if not isinstance(error, OSError):
            self._error = self._error or error
            self._stopped.set()


def until_next_report(since_s: float) -> float:
    """Return the seconds until the next report of a clock that was started `since_s` ago.

    Reports keep to the clock: each a little late, they would drift through the seconds, and now
    and then a second of the series would have a fifth too many or too few.
    """
    return (round(since_s / REPORT_INTERVAL_S) + 1) * REPORT_INTERVAL_S - since_s


def _freeze_memory() -> None:
    """Exclude existing objects from garbage collection: a run makes next to no cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
