"""Limits how many threads work for sinks at once: some are left for all other requests."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from aserve.transport.eventloop.thread_pool import ThreadPool, run_future

T = TypeVar("T")


class SinkQueue:
    """Passes calls to a thread pool, and occupies at most half of its threads, or its only one.

    A call that waits holds no slot of the pool's queue, and its connection reads no more than its
    buffer takes: slow uploads cost other requests neither a thread nor a 503.
    """

    def __init__(self, pool: ThreadPool, threads: int) -> None:
        self._pool = pool
        self._max_running = max(1, threads // 2)
        self._running = 0
        self._waiting: dict[Future[Any], Callable[[], Any]] = {}
        self._lock = threading.Lock()  # for the two above

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Queue a call, and return its future. Cancelling that takes it out of the queue."""
        future: Future[T] = Future()
        with self._lock:
            self._waiting[future] = call
            has_thread = self._running < self._max_running
            if has_thread:
                self._running += 1
        future.add_done_callback(self._remove)
        if has_thread:
            self._pool.submit(self._run_next)
        return future

    def _remove(self, future: Future[Any]) -> None:
        with self._lock:
            self._waiting.pop(future, None)

    def _run_next(self) -> None:
        """Run the call that has waited longest; queue for the next one behind other requests."""
        with self._lock:
            if self._is_done():
                return
            future = next(iter(self._waiting))
            call = self._waiting.pop(future)
        run_future(future, call)
        del future, call  # or an idle thread would keep what they refer to
        with self._lock:  # an upload that is alone would wake one more thread for each piece
            if self._is_done():
                return
        self._pool.submit(self._run_next)

    def _is_done(self) -> bool:
        """Tell whether no call waits, and count this thread as free then. Needs the lock."""
        if self._waiting:
            return False
        self._running -= 1
        return True
