"""Calls of sinks leave threads for all other requests, however many of them wait."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future

import pytest

from aserve.transport.eventloop.sink_queue import SinkQueue
from aserve.transport.eventloop.thread_pool import PoolSize, ThreadPool

TIMEOUT = 60.0


@pytest.fixture
async def pool() -> AsyncIterator[ThreadPool]:
    pool = ThreadPool(asyncio.get_running_loop(), PoolSize(4, 8))
    yield pool
    pool.shutdown()


class Calls:
    """Calls that wait at a gate, two of which may run at once."""

    def __init__(self, pool: ThreadPool, count: int) -> None:
        self.gate, self.entered = threading.Event(), threading.Semaphore(0)
        self.order: list[int] = []
        self.done: list[Future[None]] = []
        self.queue = queue = SinkQueue(pool, 4)
        self.futures = [
            queue.submit(lambda number=number: self._run(number), self._on_done)
            for number in range(count)
        ]
        for _ in range(2):
            assert self.entered.acquire(timeout=TIMEOUT)

    def _on_done(self, future: "Future[None]") -> None:
        assert threading.current_thread() is threading.main_thread()
        self.done.append(future)

    async def wait_done(self, count: int) -> None:
        """Wait until the loop has the results of so many calls."""
        self.gate.set()
        while len(self.done) < count:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)

    def _run(self, number: int) -> None:
        self.order.append(number)
        self.entered.release()
        assert self.gate.wait(TIMEOUT)


async def test_other_requests_are_served_while_a_thousand_sinks_wait(pool: ThreadPool) -> None:
    calls = Calls(pool, 1_000)
    served: asyncio.Queue[int] = asyncio.Queue()
    for number in range(8):
        assert pool.try_submit(lambda number=number: number, served.put_nowait)
    assert {await served.get() for _ in range(8)} == set(range(8))
    assert len(calls.order) == 2
    await calls.wait_done(1_000)
    assert len(calls.order) == 1_000


async def test_calls_begin_in_order_and_one_that_is_cancelled_never(pool: ThreadPool) -> None:
    calls = Calls(pool, 5)
    calls.queue.cancel(calls.futures[3])
    calls.queue.cancel(calls.futures[0])
    assert calls.futures[3].cancelled()
    assert not calls.futures[0].cancelled()
    await calls.wait_done(4)
    assert set(calls.done) == {calls.futures[number] for number in (0, 1, 2, 4)}
    assert sorted(calls.order[:2]) == [0, 1]
    assert sorted(calls.order[2:]) == [2, 4]


async def test_an_error_of_a_call_costs_no_later_one(pool: ThreadPool) -> None:
    queue, done = SinkQueue(pool, 1), asyncio.Queue[Future[int]]()
    failed = queue.submit(lambda: 1 // 0, done.put_nowait)
    queue.submit(lambda: 42, done.put_nowait)
    assert await done.get() is failed
    assert (await done.get()).result() == 42
    with pytest.raises(ZeroDivisionError):
        failed.result()
