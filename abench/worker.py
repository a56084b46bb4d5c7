"""One process of a run: a share of the Plan on an event loop, its counts sent on as they come."""

import asyncio
import gc
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from abench import connect
from abench.client import Connection, Pool
from abench.plan import Plan
from abench.summary import Summary

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop

LOOP = new_event_loop.__module__.partition(".")[0]  # "uvloop" or "asyncio"
REPORT_EVERY_S = 0.2
OPENING_LIMIT_S = 60.0
OPENING_AT_ONCE = 64  # few enough for a listen backlog of 128, the commonest
GO = b"g"


@dataclass(frozen=True, slots=True)
class Ready:
    """This share waits for the start with `standing` connections open."""

    standing: int


@dataclass(frozen=True, slots=True)
class Done:
    """This share has ended; `last` is what it had not sent before."""

    last: Summary


@dataclass(frozen=True, slots=True)
class Fault:
    """This share has ended by an error in abench itself."""

    reason: str


Message = Ready | Summary | Done | Fault


def serve(plan: Plan, orders: int, send: Callable[[Message], object]) -> None:
    """Carry out `plan` and `send` a Ready, then Summaries, then a Done.

    `orders` is a pipe's descriptor: one octet on it is the start, its end stops the run at any
    time, and comes by itself when the parent dies.
    """
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(Share(plan, orders, send).run())


class Share:
    """One process's part of a run, from the first connection to the last count."""

    def __init__(self, plan: Plan, orders: int, send: Callable[[Message], object]) -> None:
        self._plan = plan
        self._orders = orders
        self._send = send
        self._go = asyncio.Event()
        self._over = asyncio.Event()
        self._gave_up = 0
        self._fault: BaseException | None = None

    async def run(self) -> None:
        """Open the connections, wait for the start, load the server, tell what was counted."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._caught)
        self._pool = Pool(self._plan, connect.dialer(self._plan), self._over.set)
        self._loop.add_reader(self._orders, self._obey)
        try:
            await self._open_all()
            self._send(Ready(self._pool.standing))
            await self._go.wait()
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
        gate = asyncio.Semaphore(OPENING_AT_ONCE)
        tasks = [self._loop.create_task(self._open(gate, each)) for each in self._pool.connections]
        await asyncio.wait(tasks, timeout=max(OPENING_LIMIT_S, self._plan.timeout_s))
        for task in tasks:
            task.cancel()

    async def _open(self, gate: asyncio.Semaphore, connection: Connection) -> None:
        async with gate:
            await connection.open(self._plan.timeout_s)

    async def _load(self) -> None:
        """Run the clock from the first request to the end of the time or of the requests."""
        _settle_memory()
        started = time.perf_counter_ns()
        if not self._over.is_set():
            self._start()
        await self._over.wait()
        elapsed_ns = time.perf_counter_ns() - started
        unfinished = self._pool.stop()
        last = self._pool.recorder.take()
        last.elapsed_ns, last.unfinished, last.gave_up = elapsed_ns, unfinished, self._gave_up
        self._send(Done(last))

    def _start(self) -> None:
        if self._plan.duration_s is not None:
            self._loop.call_later(self._plan.duration_s, self._over.set)
        self._loop.call_later(REPORT_EVERY_S, self._beat)
        self._stood = self._loop.time()
        self._sweep()
        self._pool.begin()

    def _beat(self) -> None:
        """Send what was counted since the last beat."""
        if self._over.is_set():
            return
        self._send(self._pool.recorder.take())
        self._loop.call_later(REPORT_EVERY_S, self._beat)

    def _sweep(self) -> None:
        """Look for what takes too long; ten times within the limit, so it is at most 10 % late."""
        if self._over.is_set():
            return
        self._pool.sweep()
        if self._pool.standing:
            self._stood = self._loop.time()
        elif self._plan.requests and self._loop.time() - self._stood > self._plan.timeout_s:
            self._gave_up = 1  # a number of requests has no end of its own on a dead server
            self._over.set()
        self._loop.call_later(min(max(self._plan.timeout_s / 10, 0.01), 0.25), self._sweep)

    def _obey(self) -> None:
        """Read an order: the start, or the end of the pipe, which ends the run."""
        if os.read(self._orders, 1) != GO:
            self._loop.remove_reader(self._orders)
            self._over.set()
            if not self._go.is_set():
                self._pool.stop()  # the connections need not be waited for
        self._go.set()

    def _caught(self, _loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """Take what a callback raised. Of a failed connection, connection_lost tells as well."""
        error = context.get("exception")
        if isinstance(error, BaseException) and not isinstance(error, OSError):
            self._fault = self._fault or error
            self._over.set()


def _settle_memory() -> None:
    """Let the collector overlook all that stands: a run makes next to no cycles of its own."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
