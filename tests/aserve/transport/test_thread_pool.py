import asyncio
import threading

import pytest

from aserve.transport.eventloop.thread_pool import PoolSize, ThreadPool


@pytest.fixture
async def make_pool():
    pools = []

    def make(threads, queue):
        pools.append(ThreadPool(asyncio.get_running_loop(), PoolSize(threads, queue)))
        return pools[-1]

    yield make
    for pool in pools:
        pool.shutdown()


async def test_results_come_back_on_the_loop(make_pool):
    pool, results = make_pool(2, 8), asyncio.Queue()
    loop_thread = threading.get_ident()
    assert pool.try_submit(
        threading.get_ident, lambda ident: results.put_nowait((ident, threading.get_ident()))
    )
    worker, receiver = await results.get()
    assert worker != loop_thread
    assert receiver == loop_thread


async def test_threads_and_queue_are_bounded(make_pool):
    pool, results, gate = make_pool(2, 3), asyncio.Queue(), threading.Event()

    def job():
        gate.wait()
        return threading.get_ident()

    accepted = [pool.try_submit(job, results.put_nowait) for _ in range(7)]
    assert accepted == [True] * 5 + [False] * 2
    gate.set()
    workers = {await results.get() for _ in range(5)}
    assert len(workers) <= 2
    assert pool.try_submit(job, results.put_nowait)  # a slot is free again
    await results.get()


async def test_a_step_of_a_response_that_has_begun_is_never_rejected(make_pool):
    pool, results, gate = make_pool(1, 0), asyncio.Queue(), threading.Event()
    assert pool.try_submit(gate.wait, results.put_nowait)
    assert not pool.try_submit(gate.wait, results.put_nowait)
    step = asyncio.get_running_loop().run_in_executor(pool, lambda: 42)
    gate.set()
    assert await step == 42


async def test_an_exception_in_a_step_is_raised_where_it_is_awaited(make_pool):
    def fail():
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        await asyncio.get_running_loop().run_in_executor(make_pool(1, 1), fail)


async def test_shutdown_ends_every_thread(make_pool):
    before = set(threading.enumerate())  # threads of another test may still be ending
    pool = make_pool(3, 1)
    threads = set(threading.enumerate()) - before
    assert len(threads) == 3
    pool.shutdown()
    assert not any(thread.is_alive() for thread in threads)


async def test_an_internal_error_costs_neither_a_thread_nor_later_results(make_pool, caplog):
    def fail(*_):
        raise ZeroDivisionError

    pool, results = make_pool(1, 8), asyncio.Queue()
    assert pool.try_submit(fail, results.put_nowait)
    assert pool.try_submit(lambda: 1, fail)
    assert pool.try_submit(lambda: 2, results.put_nowait)
    assert await results.get() == 2
    assert len(caplog.messages) == 2
    assert pool._free_slots == 9


class Resource:
    """Notes the thread that closes it."""

    may_wait = True

    def __init__(self):
        self.closed_by = asyncio.Queue()
        self.is_closed = threading.Event()
        self._loop = asyncio.get_running_loop()

    def close(self):
        self._loop.call_soon_threadsafe(self.closed_by.put_nowait, threading.current_thread())
        self.is_closed.set()


async def test_a_resource_that_may_wait_is_closed_in_a_thread(make_pool):
    resource = Resource()
    make_pool(1, 1).release(resource)
    assert (await resource.closed_by.get()).name == "worker-0"


async def test_a_resource_is_closed_after_a_call_that_a_shutdown_does_not_wait_for(make_pool):
    pool, resource, gate = make_pool(1, 1), Resource(), threading.Event()
    pool.release(resource, after=pool.submit(gate.wait))
    pool.shutdown(wait=False)
    assert not resource.is_closed.is_set()
    gate.set()
    assert (await resource.closed_by.get()).name == "worker-0"


async def test_a_resource_is_closed_in_a_thread_if_the_call_before_was_cancelled(make_pool):
    pool, resource, gate = make_pool(1, 1), Resource(), threading.Event()
    pool.submit(gate.wait)
    pool.release(resource, after=(call := pool.submit(gate.wait)))
    assert call.cancel()
    gate.set()
    assert (await resource.closed_by.get()).name == "worker-0"


async def test_a_step_after_the_shutdown_is_not_lost(make_pool):
    pool = make_pool(1, 1)
    pool.shutdown()
    assert pool.submit(lambda: 42).result() == 42


async def test_the_pool_tells_when_all_resources_are_closed(make_pool, caplog):
    pool, resource, gate = make_pool(2, 1), Resource(), threading.Event()
    resource.close = lambda: 1 / 0  # which must not keep the pool waiting
    pool.release(resource, after=pool.submit(gate.wait))
    waiting = asyncio.create_task(pool.wait_released())
    await asyncio.sleep(0)
    assert not waiting.done()
    gate.set()
    await waiting
    assert "ZeroDivisionError" in caplog.text
