"""A worker in a thread of its own, for a program whose main thread does something else."""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress

from aserve.config.settings import Settings
from aserve.server.reload import ReloadableWorker
from aserve.server.worker import ModelWorker

_NAME = "aserve"


class LoopThread:
    """Runs an event loop in a thread, and a worker on it. Raises what the worker's startup does."""

    def __init__(self, worker: ReloadableWorker) -> None:
        self._worker = worker
        self._loop = worker.new_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=_NAME, daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(worker.startup(), self._loop).result()
        except BaseException:
            self._end()
            raise

    def stop(self) -> None:
        """Stop the worker and wait; an exception during the wait ends its responses at once."""
        stopping = asyncio.run_coroutine_threadsafe(self._worker.shutdown(), self._loop)
        try:
            stopping.result()
        except BaseException:
            self._loop.call_soon_threadsafe(self._worker.abort)
            wait([stopping])
            raise
        finally:
            self._end()

    def reload(self, settings: Settings, listeners: Sequence[socket.socket]) -> None:
        """Serve new connections with other settings, as ReloadableWorker does."""
        reloading = self._worker.reload(settings, listeners)
        asyncio.run_coroutine_threadsafe(reloading, self._loop).result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class ModelThread:
    """Runs a worker whose model has a loop of its own in a thread.

    make_worker is called there, since some models belong to the thread that makes them: it blocks
    their signals, or owns their ring. Raises what it does.
    """

    def __init__(self, make_worker: Callable[[], ModelWorker]) -> None:
        self._control_socket, self._worker_end = socket.socketpair()
        self._make_worker = make_worker
        self._started: Future[None] = Future()
        # join does not wait again after it was interrupted: it takes the thread for ended (3.11).
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=_NAME, daemon=True)
        self._thread.start()
        try:
            self._started.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the worker and wait; an exception during the wait ends its responses at once."""
        with self._control_socket:
            self._order_stop()
            try:
                self._ended.wait()
            except BaseException:
                self._order_stop()
                raise
            finally:
                self._thread.join()

    def _run(self) -> None:
        try:
            with self._worker_end:
                self._serve()
        finally:
            self._ended.set()

    def _serve(self) -> None:
        try:
            worker = self._make_worker()
        except BaseException as error:  # noqa: BLE001 - it is raised where the thread is started
            self._started.set_exception(error)
        else:
            self._started.set_result(None)
            worker.run(self._worker_end.fileno())

    def _order_stop(self) -> None:
        with suppress(OSError):  # the thread has ended by itself, because of an internal error
            self._control_socket.send(b"s")
