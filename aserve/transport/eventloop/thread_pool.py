"""A bounded thread pool with a bounded queue, which returns its results to an event loop.

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
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar

from aserve.transport.internal_errors import describe_exception

P = ParamSpec("P")
T = TypeVar("T")

Job = Callable[[], None]

_logger = logging.getLogger("aserve")


class PoolSize(NamedTuple):
    """The number of threads, and how many more jobs may wait in the queue."""

    threads: int
    queue: int


class Resource(Protocol):
    """What has to be closed, and whether that may have to be waited for: a stream or a sink."""

    may_wait: bool

    def close(self) -> None:
        """Release everything."""


class ThreadPool(Executor):
    """Worker threads, started at once, that take jobs from one bounded queue.

    Only submit, enqueue, deliver and release may be called by other threads than the loop's own, so
    the bound needs no lock.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, size: PoolSize) -> None:
        self._loop = loop
        self._size = size
        self._free_slots = size.threads + size.queue
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._results: deque[Job] = deque()
        self._is_waking = False
        self._is_shut_down = False
        self._unreleased: set[object] = set()  # one item for each resource that is being closed
        self._all_released: asyncio.Event | None = None  # while wait_released waits
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
            for number in range(size.threads)
        ]
        try:
            for thread in self._threads:
                thread.start()
        except RuntimeError:  # there may be no more threads: those that started must not stay
            self.shutdown(wait=False)
            raise

    def try_submit(
        self,
        job: Callable[[], T],
        on_done: Callable[[T], None],
        on_failure: Callable[[], None] | None = None,
    ) -> bool:
        """Queue a job whose result on_done gets on the loop. Return False if the queue is full.

        If the job raises, the exception is logged and on_failure is called instead of on_done.
        """
        if not self._free_slots:
            return False
        self._free_slots -= 1
        self._jobs.put(partial(self._run, job, on_done, on_failure))
        return True

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue a step of a response that has begun, and return its future.

        The bound does not apply: a response that has begun must not be cut off. After shutdown no
        thread would take the step, so the caller does it.
        """
        future: Future[T] = Future()
        self.enqueue(partial(run_future, future, partial(fn, *args, **kwargs)))
        return future

    def enqueue(self, job: Job) -> None:
        """Queue a job whose result does not matter, as submit does. It must not raise."""
        if self._is_shut_down:
            job()
        else:
            self._jobs.put(job)

    @property
    def has_waiting_jobs(self) -> bool:
        """Whether jobs wait for a thread at this moment."""
        return not self._jobs.empty()

    def deliver(self, result: Job) -> None:
        """Have the loop do something with a result, soon; what is delivered together wakes it once.

        After shutdown it is dropped.
        """
        self._results.append(result)
        if not self._is_waking:
            self._is_waking = True
            with suppress(RuntimeError):  # the loop is closed: the result is not needed
                self._loop.call_soon_threadsafe(self._deliver)

    def release(self, resource: Resource, after: Future[Any] | None = None) -> None:
        """Close a resource, in a thread if that may wait.

        after: a call of the resource that is under way; it is closed once that has returned, by the
        same thread: the loop may have stopped by then.
        """
        ticket = object()
        self._unreleased.add(ticket)
        if after:
            after.add_done_callback(lambda _: self._release_in_thread(resource, ticket))
        else:
            self._release_in_thread(resource, ticket)

    def _release_in_thread(self, resource: Resource, ticket: object) -> None:
        if resource.may_wait and threading.current_thread() not in self._threads:
            self.submit(self._close, resource, ticket)
        else:
            self._close(resource, ticket)

    def _close(self, resource: Resource, ticket: object) -> None:
        close_resource(resource)
        self._unreleased.discard(ticket)
        if self._all_released and not self._unreleased:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._all_released.set)

    async def wait_released(self) -> None:
        """Wait until every resource is closed."""
        self._all_released = asyncio.Event()  # before the test, so that no thread misses it
        if self._unreleased:
            await self._all_released.wait()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        """Stop the threads once the queued jobs are done. Results from now on are dropped.

        A loop that has stopped would not deliver them, and they hold files open.
        """
        self._is_shut_down = True
        self._results = deque(maxlen=0)
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # or an idle thread would keep the last job's file open

    def _run(
        self,
        job: Callable[[], T],
        on_done: Callable[[T], None],
        on_failure: Callable[[], None] | None,
    ) -> None:
        try:
            result = job()
        except Exception as error:  # noqa: BLE001 - an internal error must cost no thread and no slot
            _logger.error("internal error: %s in a worker thread", describe_exception(error))
            self.deliver(partial(self._deliver_failure, on_failure))
        else:
            self.deliver(partial(self._deliver_result, on_done, result))

    def _deliver(self) -> None:
        self._is_waking = False  # first, so that a later result wakes the loop again
        while self._results:
            deliver = self._results.popleft()
            try:
                deliver()
            except Exception as error:  # noqa: BLE001 - an internal error must not lose the next results
                _logger.error("internal error: %s with a result", describe_exception(error))

    def _deliver_result(self, on_done: Callable[[T], None], result: T) -> None:
        self._free_slot()
        on_done(result)

    def _deliver_failure(self, on_failure: Callable[[], None] | None) -> None:
        self._free_slot()
        if on_failure:
            on_failure()

    def _free_slot(self) -> None:
        self._free_slots += 1


def close_resource(resource: Resource) -> None:
    """Close a resource; an error is logged, since no caller is left to raise it to."""
    try:
        resource.close()
    except Exception as error:  # noqa: BLE001 - the boundary
        _logger.error("internal error: %s while closing", describe_exception(error))


def run_future(future: "Future[Any]", work: Callable[[], Any]) -> None:
    """Set a future to the result of work, or to what it raises, unless it was cancelled."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - it is raised where the future is awaited
        future.set_exception(error)
    else:
        future.set_result(result)
    # The error refers to this frame, and the frame to the future, which refers to the error: a
    # cycle that would keep files open until the garbage collector finds it.
    del future, work
