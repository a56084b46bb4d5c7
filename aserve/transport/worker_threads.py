"""A fixed number of worker threads, and how jobs are dispatched to them."""

import logging
import random
import threading
from collections.abc import Callable, Iterator
from itertools import cycle
from queue import SimpleQueue
from typing import Generic, TypeVar

from aserve.transport.internal_errors import describe_exception

T = TypeVar("T")

_logger = logging.getLogger("aserve")


class WorkerThreads(Generic[T]):
    """Threads that call work with each submitted job.

    dispatch: "queue" is one queue for all, from which an idle thread takes the next job. With
    "round-robin" and "random" each thread has a queue of its own, and a job in it waits for that
    thread even if others are idle.
    """

    def __init__(self, threads: int, dispatch: str, work: Callable[[T], None]) -> None:
        queue_count = 1 if dispatch == "queue" else threads
        self._queues: list[SimpleQueue[T | None]] = [SimpleQueue() for _ in range(queue_count)]
        self._next_queue = _random(self._queues) if dispatch == "random" else cycle(self._queues)
        self._work = work
        self._threads = [
            threading.Thread(
                target=self._run_worker, args=(queue,), name=f"worker-{number}", daemon=True
            )
            for number, queue in zip(range(threads), cycle(self._queues))
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, job: T) -> None:
        """Queue a job. Only one thread may call this."""
        next(self._next_queue).put(job)

    def shutdown(self) -> None:
        """Stop the threads, each after the jobs that are queued for it, and wait for them."""
        for _, queue in zip(self._threads, cycle(self._queues)):
            queue.put(None)
        for thread in self._threads:
            thread.join()

    def _run_worker(self, queue: "SimpleQueue[T | None]") -> None:
        while (job := queue.get()) is not None:
            try:
                self._work(job)
            except Exception as error:  # noqa: BLE001 - an internal error must not end the thread
                _logger.error("internal error: %s in a worker thread", describe_exception(error))


def _random(queues: "list[SimpleQueue[T | None]]") -> "Iterator[SimpleQueue[T | None]]":
    while True:
        yield random.choice(queues)  # noqa: S311 - no secret
