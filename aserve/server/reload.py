"""Other settings without a pause: a new worker takes over the sockets and the connections."""

import asyncio
import logging
import socket
from collections.abc import Sequence

from aserve.config.settings import Settings
from aserve.server.listeners import duplicate
from aserve.server.rates import Rates
from aserve.server.worker import AsyncioWorker
from aserve.transport.internal_errors import describe_exception
from aserve.transport.observers import ReportRemaining, ResponseObserver

_logger = logging.getLogger("aserve")


class ReloadableWorker:
    """Workers one after another on one event loop, each with settings of its own.

    A worker has everything that depends on settings: the root, the handlers, the cache, the limits
    and the pool. A reload prepares a new one, which may fail, and then has it accept. Connections
    stay: their next requests are the new worker's, and a response under way ends as it began.
    """

    def __init__(
        self,
        settings: Settings,
        listeners: Sequence[socket.socket],
        observer: ResponseObserver | None,
        report_remaining: ReportRemaining | None = None,
        rates: Rates | None = None,
    ) -> None:
        self._settings = settings
        self._listeners = listeners
        self._observer = observer
        self._report_remaining = report_remaining
        self._rates = rates or Rates()
        self._current = self._worker(settings, listeners)
        self._prepared: tuple[Settings, Sequence[socket.socket], AsyncioWorker] | None = None
        self._ending: dict[asyncio.Task[None], AsyncioWorker] = {}

    def _worker(self, settings: Settings, listeners: Sequence[socket.socket]) -> AsyncioWorker:
        report = self._report_remaining
        return AsyncioWorker(settings, listeners, self._observer, report, self._rates)

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Return an event loop of the kind that the model runs on."""
        return self._current.new_loop()

    async def startup(self) -> None:
        """Start to serve on the running event loop."""
        await self._current.startup()

    async def reload(self, settings: Settings) -> Sequence[socket.socket]:
        """Serve all requests from now on with other settings; return the sockets that accept.

        Those are copies: the former worker closes its own. If the new one cannot start, the former
        one serves on.
        """
        await self.prepare(settings)
        return await self.commit()

    async def prepare(self, settings: Settings) -> None:
        """Make everything that other settings need. If that fails, nothing has changed."""
        self.discard()
        listeners = duplicate(self._listeners)
        worker = self._worker(settings, listeners)
        await worker.prepare(self._current)
        self._prepared = settings, listeners, worker

    async def commit(self) -> Sequence[socket.socket]:
        """Serve with what was prepared; return the sockets that accept."""
        if not self._prepared:
            return self._listeners
        (settings, listeners, worker), self._prepared = self._prepared, None
        await worker.start()
        former, self._current = self._current, worker
        self._settings, self._listeners = settings, listeners
        await former.hand_over(worker)
        task = asyncio.create_task(former.wait_handed_over())
        self._ending[task] = former
        task.add_done_callback(self._on_ended)
        return listeners

    def discard(self) -> None:
        """Release what was prepared."""
        if self._prepared:
            self._prepared[2].discard()
            self._prepared = None

    def _on_ended(self, task: asyncio.Task[None]) -> None:
        del self._ending[task]
        if not task.cancelled() and (error := task.exception()):
            _logger.error("internal error: %s after a reload", describe_exception(error))

    async def retire(self) -> None:
        """Accept no more, and close each connection after its next response; wait for the last."""
        self._listeners = ()
        await self._current.retire()

    async def shutdown(self) -> None:
        """Wait for the responses in progress, for at most the grace period, then stop."""
        self.discard()
        ending = list(self._ending)
        timeout = asyncio.get_running_loop().call_later(self._settings.grace, self._abort_ending)
        try:
            await self._current.shutdown()
            if ending:
                await asyncio.wait(ending)
        finally:
            timeout.cancel()

    def abort(self) -> None:
        """Abort the connections that shutdown waits for."""
        self._current.abort()
        self._abort_ending()

    def _abort_ending(self) -> None:
        for worker in self._ending.values():
            worker.abort()
