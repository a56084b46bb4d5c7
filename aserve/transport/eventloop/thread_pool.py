"""A thread pool and its request queue, both bounded, that hand results back to an event loop.

`loop.run_in_executor` adds 22 to 30 us to a request and its queue has no bound. Here a finished
batch wakes the loop once: about 4 us in a prototype (docs/performance.md).
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple, ParamSpec, TypeVar

from aserve.transport.internal_errors import describe_exception

P = ParamSpec("P")
T = TypeVar("T")

Job = Callable[[], None]

_logger = logging.getLogger("aserve")


class PoolSize(NamedTuple):
    """How many jobs may be worked on, by a thread each, and how many more may wait for that."""

    threads: int
    queue: int


class ThreadPool(Executor):
    """Worker threads, created at once, that take jobs from one bounded queue.

    Every method is called on the loop's own thread, so admission needs no lock.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, size: PoolSize) -> None:
        self._loop = loop
        self._size = size
        self._free_slots = size.threads + size.queue
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._finished: deque[Job] = deque()
        self._is_waking = False
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
            for number in range(size.threads)
        ]
        for thread in self._threads:
            thread.start()

    def try_submit(
        self,
        job: Callable[[], T],
        on_done: Callable[[T], None],
        on_failure: Callable[[], None] | None = None,
    ) -> bool:
        """Queue a job whose result done gets on the loop; False at once where the queue is full.

        A job that raises is logged, and failed is called instead of done.
        """
        if not self._free_slots:
            return False
        self._free_slots -= 1
        self._jobs.put(partial(self._run, job, on_done, on_failure))
        return True

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue a step of work that was admitted before, as concurrent.futures has it.

        The bound does not hold it back: a reply that has begun must not be broken off.
        """
        future: Future[T] = Future()
        self._jobs.put(partial(_run_future, future, partial(fn, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        """End the threads when they have done what is queued."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # or an idle thread would keep what its last job read from open

    def _run(
        self,
        job: Callable[[], T],
        done: Callable[[T], None],
        failed: Callable[[], None] | None,
    ) -> None:
        try:
            result = job()
        except Exception as error:  # noqa: BLE001 - a fault of ours must cost no thread and no room
            _logger.error("internal error: %s in a worker thread", describe_exception(error))
            self._finish(partial(self._deliver_failure, failed))
        else:
            self._finish(partial(self._deliver_result, done, result))

    def _finish(self, deliver: Job) -> None:
        """Leave a result for the loop. Whoever finds the loop not yet called, calls it."""
        self._finished.append(deliver)
        if not self._is_waking:
            self._is_waking = True
            with suppress(RuntimeError):  # the loop is closed: nobody waits for it any more
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._is_waking = False  # before the look, so that what comes after it calls again
        while self._finished:
            deliver = self._finished.popleft()
            try:
                deliver()
            except Exception as error:  # noqa: BLE001 - nor the results that come behind it
                _logger.error("internal error: %s with a result", describe_exception(error))

    def _deliver_result(self, done: Callable[[T], None], result: T) -> None:
        self._free_slot()
        done(result)

    def _deliver_failure(self, failed: Callable[[], None] | None) -> None:
        self._free_slot()
        if failed:
            failed()

    def _free_slot(self) -> None:
        self._free_slots += 1


def _run_future(future: "Future[Any]", work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - it belongs to whoever awaits the future
        future.set_exception(error)
    else:
        future.set_result(result)
    # The error knows this frame, and this frame knew who knows the error: a circle that would keep
    # files open until the collector finds it.
    del future, work
