"""A fixed number of worker threads, and how jobs are dispatched to them."""

import logging
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from operator import attrgetter
from queue import SimpleQueue
from typing import Generic, TypeVar

from aserve.transport.internal_errors import describe_exception

T = TypeVar("T")

_logger = logging.getLogger("aserve")


class JobQueue(Generic[T]):
    """Jobs for one thread or for several, and how many of them were ever put and done.

    Each number is changed by one thread alone, if one thread puts and one thread works, so that
    counting takes no lock.
    """

    __slots__ = ("_done", "_jobs", "_put")

    def __init__(self) -> None:
        self._jobs: SimpleQueue[T | None] = SimpleQueue()
        self._put = self._done = 0

    @property
    def waiting(self) -> int:
        """How many jobs no thread has taken yet."""
        return self._jobs.qsize()

    @property
    def load(self) -> int:
        """How many jobs are not done: the waiting ones, and the one that is worked on."""
        return self._put - self._done

    def put(self, job: T) -> None:
        """Add a job."""
        self._put += 1
        self._jobs.put(job)

    def put_end(self) -> None:
        """End the thread that takes this instead of a job."""
        self._jobs.put(None)

    def work_until_end(self, work: Callable[[T], None]) -> None:
        """Call work with each job, until this thread's end comes."""
        while (job := self._jobs.get()) is not None:
            try:
                work(job)
            except Exception as error:  # noqa: BLE001 - an internal error must not end the thread
                _logger.error("internal error: %s in a worker thread", describe_exception(error))
            self._done += 1


class WorkerThreads(Generic[T]):
    """Threads that call work with each submitted job.

    dispatch: "queue" is one queue for all, from which an idle thread takes the next job. With the
    others each thread has a queue of its own: "round-robin" takes them in turn, "random" any, and
    "least-loaded" the one with the fewest jobs, the one that is worked on included. A job waits for
    its thread even if others are idle. max_waiting: jobs that may wait for a thread, in all queues;
    at least one, until an idle thread has taken it.
    """

    def __init__(
        self, threads: int, dispatch: str, work: Callable[[T], None], max_waiting: int = 1_024
    ) -> None:
        queue_count = 1 if dispatch == "queue" else threads
        self._queues: list[JobQueue[T]] = [JobQueue() for _ in range(queue_count)]
        self._next_queue = _DISPATCHERS[dispatch](self._queues)
        self._max_waiting = max(1, max_waiting)
        self._threads = [
            threading.Thread(
                target=queue.work_until_end, args=(work,), name=f"worker-{number}", daemon=True
            )
            for number, queue in zip(range(threads), cycle(self._queues))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def is_full(self) -> bool:
        """Whether as many jobs wait as may."""
        return sum(queue.waiting for queue in self._queues) >= self._max_waiting

    def submit(self, job: T) -> None:
        """Queue a job, also if they are full. Only one thread may call this."""
        next(self._next_queue).put(job)

    def shutdown(self) -> None:
        """Stop the threads, each after the jobs that are queued for it, and wait for them."""
        for _, queue in zip(self._threads, cycle(self._queues)):
            queue.put_end()
        for thread in self._threads:
            thread.join()


def _random(queues: Sequence[JobQueue[T]]) -> Iterator[JobQueue[T]]:
    while True:
        yield random.choice(queues)  # noqa: S311 - no secret


def _least_loaded(queues: Sequence[JobQueue[T]]) -> Iterator[JobQueue[T]]:
    while True:
        yield min(queues, key=attrgetter("load"))


_DISPATCHERS: Mapping[str, Callable[[Sequence[JobQueue[T]]], Iterator[JobQueue[T]]]] = {
    "queue": cycle,
    "round-robin": cycle,
    "random": _random,
    "least-loaded": _least_loaded,
}
