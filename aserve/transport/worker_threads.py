"""A pool of threads made before there is work, and how work is given to them."""

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
    """So many threads that call `work` with each thing that is handed to them.

    dispatch: "queue" is one queue for all, from which whoever is free takes the next; in
    "round-robin" and "random" each thread has a queue of its own, and whatever is in it waits
    for that thread, though others may be free.
    """

    def __init__(self, threads: int, dispatch: str, work: Callable[[T], None]) -> None:
        number = 1 if dispatch == "queue" else threads
        self._queues: list[SimpleQueue[T | None]] = [SimpleQueue() for _ in range(number)]
        self._next_queue = _random(self._queues) if dispatch == "random" else cycle(self._queues)
        self._work = work
        self._threads = [
            threading.Thread(
                target=self._run_worker, args=(queue,), name=f"worker-{each}", daemon=True
            )
            for each, queue in zip(range(threads), cycle(self._queues))
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, job: T) -> None:
        """Give one thing to a thread; by one thread only."""
        next(self._next_queue).put(job)

    def shutdown(self) -> None:
        """End the threads, each when it has done what was handed to it before."""
        for _, queue in zip(self._threads, cycle(self._queues)):
            queue.put(None)
        for thread in self._threads:
            thread.join()

    def _run_worker(self, queue: "SimpleQueue[T | None]") -> None:
        while (thing := queue.get()) is not None:
            try:
                self._work(thing)
            except Exception as error:  # noqa: BLE001 - a fault of ours must cost no thread
                _logger.error("internal error: %s in a worker thread", describe_exception(error))


def _random(queues: "list[SimpleQueue[T | None]]") -> "Iterator[SimpleQueue[T | None]]":
    while True:
        yield random.choice(queues)  # noqa: S311 - no secret
