"""A worker in a thread of its own, for a program whose main thread does something else."""

import asyncio
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress

from aserve.config.settings import Settings
from aserve.server.model_worker import ModelWorker
from aserve.server.reload import ReloadableWorker

_MAX_WAIT_S = 0.5
"""Python handles a signal between two steps of the main thread. One that arrives just before it
blocks does not wake it, so Ctrl-C would be seen only when the wait is over."""


class WorkerThread(ABC):
    """A thread that serves until it is ordered to stop."""

    def __init__(self) -> None:
        self._started: Future[None] = Future()
        # join does not wait again after it was interrupted: it takes the thread for ended (3.11).
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="aserve", daemon=True)
        self._thread.start()
        try:
            self._started.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the worker and wait; an exception during the wait ends its responses at once."""
        try:
            self._order_stop()
            while not self._ended.wait(_MAX_WAIT_S):
                pass
        except BaseException:
            self._order_abort()
            self._ended.wait()
            raise
        finally:
            self._thread.join()

    @abstractmethod
    def reload(self, settings: Settings) -> Sequence[socket.socket]:
        """Answer all requests from now on with other settings; return the sockets that accept."""

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)  # it is raised where the thread is started
        finally:
            self._ended.set()

    @abstractmethod
    def _serve(self) -> None:
        """Serve until the stop; set the result of _started before."""

    @abstractmethod
    def _order_stop(self) -> None:
        """Have the worker stop after the responses in progress, if it runs."""

    @abstractmethod
    def _order_abort(self) -> None:
        """Have the worker stop at once, if it runs, whether it was ordered to stop or not."""


class LoopThread(WorkerThread):
    """Runs an event loop in a thread, and a worker on it. Raises what the worker's startup does."""

    def __init__(self, worker: ReloadableWorker) -> None:
        self._worker = worker
        self._loop = worker.new_loop()
        self._stopping = asyncio.Event()
        super().__init__()

    def reload(self, settings: Settings) -> Sequence[socket.socket]:
        """Do what ReloadableWorker does.

        Not after stop was called, nor while it runs: the loop may never come to it.
        """
        reloading = self._worker.reload(settings)
        return asyncio.run_coroutine_threadsafe(reloading, self._loop).result()

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        await self._worker.startup()
        self._started.set_result(None)
        await self._stopping.wait()
        await self._worker.shutdown()

    def _order_stop(self) -> None:
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._stopping.set)

    def _order_abort(self) -> None:
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        self._stopping.set()
        self._worker.abort()


class ModelThread(WorkerThread):
    """Runs a worker whose model has a loop of its own in a thread.

    make_worker is called there, since some models belong to the thread that makes them: it blocks
    their signals, or owns their ring. Raises what it does.
    """

    def __init__(self, make_worker: Callable[[], ModelWorker]) -> None:
        self._control_socket, self._worker_end = socket.socketpair()
        self._make_worker = make_worker
        super().__init__()

    def reload(self, settings: Settings) -> Sequence[socket.socket]:
        """Answer all requests from now on with other settings; return the sockets that accept.

        Raises SettingsError for a setting that the model keeps.
        """
        self._worker.prepare(settings)
        self._worker.commit()
        return self._worker.listeners

    def stop(self) -> None:
        """Stop the worker and wait; an exception during the wait ends its responses at once."""
        with self._control_socket:
            super().stop()

    def _serve(self) -> None:
        with self._worker_end:
            worker = self._worker = self._make_worker()
            self._started.set_result(None)
            worker.run(self._worker_end.fileno())

    def _order_stop(self) -> None:
        with suppress(OSError):  # the thread has ended by itself, because of an internal error
            self._control_socket.send(b"s")

    def _order_abort(self) -> None:
        for _ in range(2):  # the second order is to stop at once; further ones do no harm
            self._order_stop()
