"""Tests of a server that needs the main thread: the test itself runs in another one meanwhile."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from queue import SimpleQueue
from typing import Any

_jobs: SimpleQueue[Callable[[], object] | None] = SimpleQueue()


def run_on_main_thread(job: Callable[[], object]) -> None:
    """Have a function called by the main thread soon; only in a test that has left it."""
    assert threading.current_thread() is not threading.main_thread()
    _jobs.put(job)


def off_main_thread(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test in a thread, so that the main thread is free for what the test wants run there."""

    @wraps(test)
    def run(**arguments: Any) -> None:
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(test, **arguments)
            running.add_done_callback(lambda _: _jobs.put(None))
            while job := _jobs.get():
                job()
        running.result()

    return run
