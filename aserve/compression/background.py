"""Work that no one waits for: one thread of the lowest priority, which ends when all is done."""

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from heapq import heapify, heappop, heappush
from itertools import count

Job = Callable[[Callable[[], bool]], None]
"""Gets a function that tells whether to stop, and calls it at least twice a second."""

_MAX_JOBS = 64  # each keeps a file open
_LOWEST_PRIORITY = 19

_logger = logging.getLogger("aserve")


class Background:
    """Does jobs one by one. Any thread may use it."""

    def __init__(self) -> None:
        self._jobs: list[tuple[float, int, Job]] = []  # a heap: the shortest first
        self._numbers = count()
        self._lock = threading.Lock()
        self._is_running = False
        self._is_stopped = False
        self._idle = threading.Event()
        self._idle.set()

    def try_add(self, job: Job, seconds: float = 0) -> bool:
        """Do a job later. Return False if too many wait already, or it is stopped.

        seconds: about what it takes. Shorter ones go first: the many small files of a site do not
        wait for a large one.
        """
        with self._lock:
            if self._is_stopped or len(self._jobs) >= _MAX_JOBS:
                return False
            entry = seconds, next(self._numbers), job
            heappush(self._jobs, entry)
            if self._is_running:
                return True
            self._is_running = True
            self._idle.clear()
        try:
            threading.Thread(target=self._run, name="background", daemon=True).start()
        except RuntimeError:  # there may be no more threads
            with self._lock:
                self._jobs.remove(entry)  # others may have come: they wait for the next one
                heapify(self._jobs)
                self._end()
            return False
        return True

    def wait_idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to do; return whether that is so."""
        return self._idle.wait(timeout)

    def stop(self) -> None:
        """Take no more jobs, and let the current one end soon; no one waits for that."""
        with self._lock:
            self._is_stopped = True
            self._jobs.clear()

    def _run(self) -> None:
        # On Linux, each thread has a priority of its own: setpriority(2), "C library/kernel
        # differences".
        with suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
        while job := self._next():
            try:
                job(lambda: self._is_stopped)
            except Exception as error:  # noqa: BLE001 - the boundary of the thread: it goes on
                _logger.error("internal error: %r in the background", error)
            del job  # and its file, before the next one is waited for

    def _next(self) -> Job | None:
        with self._lock:
            if self._jobs:
                return heappop(self._jobs)[2]
            self._end()
            return None

    def _end(self) -> None:
        self._is_running = False
        self._idle.set()
