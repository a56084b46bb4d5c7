"""Other settings without a pause: a new worker takes over the listening sockets of the old one."""

import asyncio
import socket
from collections.abc import Sequence

from aserve.config.settings import Settings
from aserve.server.worker import AsyncioWorker
from aserve.transport.observers import ResponseObserver


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
        self._observer = observer
        self._current = AsyncioWorker(settings, listeners, observer)
        self._retired: dict[asyncio.Task[None], AsyncioWorker] = {}

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Return an event loop of the kind that the model runs on."""
        return self._current.new_loop()

    async def startup(self) -> None:
        """Start to serve on the running event loop."""
        await self._current.startup()

    async def reload(self, settings: Settings, listeners: Sequence[socket.socket]) -> None:
        """Serve new connections with other settings.

        listeners: copies of the sockets, for the new worker: the old one closes its own. If the new
        worker cannot start, the old one serves on.
        """
        worker = AsyncioWorker(settings, listeners, self._observer)
        await worker.startup()
        task = asyncio.create_task(self._current.drain())
        self._retired[task] = self._current
        task.add_done_callback(self._retired.pop)
        self._settings, self._current = settings, worker

    async def shutdown(self) -> None:
        """Wait for the responses in progress, for at most the grace period, then stop."""
        retired = list(self._retired)
        timeout = asyncio.get_running_loop().call_later(self._settings.grace, self._abort_retired)
        await asyncio.gather(self._current.shutdown(), *retired)
        timeout.cancel()

    def abort(self) -> None:
        """Abort the connections that shutdown waits for."""
        self._current.abort()
        self._abort_retired()

    def _abort_retired(self) -> None:
        for worker in self._retired.values():
            worker.abort()
