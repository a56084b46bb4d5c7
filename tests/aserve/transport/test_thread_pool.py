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
    pool, done = make_pool(2, 8), asyncio.Queue()
    loop_thread = threading.get_ident()
    assert pool.try_submit(
        threading.get_ident, lambda ident: done.put_nowait((ident, threading.get_ident()))
    )
    worker, receiver = await done.get()
    assert worker != loop_thread
    assert receiver == loop_thread


async def test_threads_and_queue_are_bounded(make_pool):
    pool, done, gate = make_pool(2, 3), asyncio.Queue(), threading.Event()

    def job():
        gate.wait()
        return threading.get_ident()

    admitted = [pool.try_submit(job, done.put_nowait) for _ in range(7)]
    assert admitted == [True] * 5 + [False] * 2
    gate.set()
    workers = {await done.get() for _ in range(5)}
    assert len(workers) <= 2
    assert pool.try_submit(job, done.put_nowait)  # there is room again
    await done.get()


async def test_a_step_of_admitted_work_is_never_refused(make_pool):
    pool, done, gate = make_pool(1, 0), asyncio.Queue(), threading.Event()
    assert pool.try_submit(gate.wait, done.put_nowait)
    assert not pool.try_submit(gate.wait, done.put_nowait)
    step = asyncio.get_running_loop().run_in_executor(pool, lambda: 42)
    gate.set()
    assert await step == 42


async def test_what_a_step_raises_reaches_who_awaits_it(make_pool):
    def fail():
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        await asyncio.get_running_loop().run_in_executor(make_pool(1, 1), fail)


async def test_shutdown_ends_every_thread(make_pool):
    before = set(threading.enumerate())  # another test's may still be on their way out
    pool = make_pool(3, 1)
    threads = set(threading.enumerate()) - before
    assert len(threads) == 3
    pool.shutdown()
    assert not any(thread.is_alive() for thread in threads)


async def test_a_fault_costs_neither_a_thread_nor_the_results_behind_it(make_pool, caplog):
    def fail(*_):
        raise ZeroDivisionError

    pool, done = make_pool(1, 8), asyncio.Queue()
    assert pool.try_submit(fail, done.put_nowait)
    assert pool.try_submit(lambda: 1, fail)
    assert pool.try_submit(lambda: 2, done.put_nowait)
    assert await done.get() == 2
    assert len(caplog.messages) == 2
    assert pool._free_slots == 9
