"""Limits how many threads work for sinks at once: some are left for all other requests."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple, TypeVar

from aserve.transport.eventloop.thread_pool import ThreadPool, run_future

T = TypeVar("T")


class _WaitingCall(NamedTuple):
    call: Callable[[], Any]
    on_done: Callable[["Future[Any]"], None]


class SinkQueue:
    """Passes calls to a thread pool, and occupies at most half of its threads, or its only one.

    A call that waits holds no slot of the pool's queue, and its connection reads no more than its
    buffer takes: slow uploads cost other requests neither a thread nor a 503.
    """

    def __init__(self, pool: ThreadPool, threads: int) -> None:
        self._pool = pool
        self._max_running = max(1, threads // 2)
        self._running = 0
        self._waiting: dict[Future[Any], _WaitingCall] = {}
        self._lock = threading.Lock()  # for the two above

    def submit(self, call: Callable[[], T], on_done: Callable[["Future[T]"], None]) -> "Future[T]":
        """Queue a call, and return its future, which on_done gets on the loop once it is done."""
        future: Future[T] = Future()
        with self._lock:
            self._waiting[future] = _WaitingCall(call, on_done)
            has_thread = self._running < self._max_running
            if has_thread:
                self._running += 1
        if has_thread:
            self._pool.enqueue(self._run_waiting)
        return future

    def cancel(self, future: "Future[Any]") -> None:
        """Take a call out of the queue, unless a thread has begun it; on_done does not get it."""
        with self._lock:
            self._waiting.pop(future, None)
        future.cancel()

    def _run_waiting(self) -> None:
        """Run the calls that wait, the oldest first; behind other requests, if there are any."""
        while self._run_next():
            if self._pool.has_waiting_jobs:
                self._pool.enqueue(self._run_waiting)
                return

    def _run_next(self) -> bool:
        """Run the call that has waited longest. Without one, count this thread as free."""
        with self._lock:
            if not self._waiting:
                self._running -= 1
                return False
            future = next(iter(self._waiting))
            call, on_done = self._waiting.pop(future)
        run_future(future, call)
        self._pool.deliver(partial(on_done, future))
        return True
