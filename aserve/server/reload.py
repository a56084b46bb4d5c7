"""Other settings without a pause: a new worker takes over the listening sockets of the old one."""

import asyncio
import logging
import socket
from collections.abc import Sequence

from aserve.config.settings import Settings
from aserve.server.listeners import duplicate
from aserve.server.worker import AsyncioWorker
from aserve.transport.internal_errors import describe_exception
from aserve.transport.observers import ResponseObserver

_logger = logging.getLogger("aserve")


class ReloadableWorker:
    """Workers one after another on one event loop, each with settings of its own.

    A worker has everything that depends on settings: the root, the handlers, the cache, the pool
    and the connections. The one pointer that a reload moves is the worker that accepts. An older
    worker serves the connections that it has accepted, each to the end of its response.
    """

    def __init__(
        self,
        settings: Settings,
        listeners: Sequence[socket.socket],
        observer: ResponseObserver | None,
    ) -> None:
        self._settings = settings
        self._listeners = listeners
        self._observer = observer
        self._current = AsyncioWorker(settings, listeners, observer)
        self._retired: dict[asyncio.Task[None], AsyncioWorker] = {}

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Return an event loop of the kind that the model runs on."""
        return self._current.new_loop()

    async def startup(self) -> None:
        """Start to serve on the running event loop."""
        await self._current.startup()

    async def reload(self, settings: Settings) -> Sequence[socket.socket]:
        """Serve new connections with other settings; return the sockets that accept them.

        Those are copies: the old worker closes its own. If the new one cannot start, the old one
        serves on.
        """
        listeners = duplicate(self._listeners)
        worker = AsyncioWorker(settings, listeners, self._observer)
        await worker.startup()
        self._retire(self._current)
        self._settings, self._listeners, self._current = settings, listeners, worker
        return listeners

    def _retire(self, worker: AsyncioWorker) -> None:
        task = asyncio.create_task(worker.drain())
        self._retired[task] = worker
        task.add_done_callback(self._on_drained)

    def _on_drained(self, task: asyncio.Task[None]) -> None:
        worker = self._retired.pop(task)
        if not task.cancelled() and (error := task.exception()):
            _logger.error("internal error: %s after a reload", describe_exception(error))
            worker.abort()

    async def shutdown(self) -> None:
        """Wait for the responses in progress, for at most the grace period, then stop."""
        retired = list(self._retired)
        timeout = asyncio.get_running_loop().call_later(self._settings.grace, self._abort_retired)
        try:
            await self._current.shutdown()
            if retired:
                await asyncio.wait(retired)
        finally:
            timeout.cancel()

    def abort(self) -> None:
        """Abort the connections that shutdown waits for."""
        self._current.abort()
        self._abort_retired()

    def _abort_retired(self) -> None:
        for worker in self._retired.values():
            worker.abort()
