"""A server inside a program: in its event loop, or in a thread."""

import asyncio
import os
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aserve.config.settings import Settings
from aserve.server.event_loops import new_event_loop, standard_event_loop
from aserve.server.listeners import listen, url
from aserve.server.worker import AsyncioWorker, ModelWorker
from aserve.transport.registry import MODELS


class Server:
    """Serves a directory while a `with` or `async with` block runs.

    root: the directory to serve; port: 0 for any free one. Other settings are those of
    aserve.Settings. `async with` serves in the running event loop, `with` in a thread of its own,
    for programs and tests without a loop. Raises aserve.SettingsError, and aserve.ListenError on
    entering the block.
    """

    def __init__(self, root: str | os.PathLike[str], *, port: int = 0, **settings: Any) -> None:
        self.settings = Settings(Path(root), port=port, **settings)
        self.url = ""
        """The URL of the site, with a slash at its end; "" before the block is entered."""
        self._worker: AsyncioWorker
        self._thread: threading.Thread

    async def __aenter__(self) -> Self:
        if self._uses_own_thread:
            return self.__enter__()
        await self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._uses_own_thread:
            await asyncio.to_thread(self._stop_thread)
            return
        await self._worker.shutdown()

    def __enter__(self) -> Self:
        if self._uses_own_thread:
            self._start_thread()
            return self
        is_standard = self.settings.model == "asyncio"
        self._loop = (standard_event_loop if is_standard else new_event_loop)()
        self._thread = threading.Thread(target=self._loop.run_forever, name="aserve", daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        except BaseException:
            self._stop_loop_thread()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._uses_own_thread:
            self._stop_thread()
            return
        asyncio.run_coroutine_threadsafe(self._worker.shutdown(), self._loop).result()
        self._stop_loop_thread()

    @property
    def _uses_own_thread(self) -> bool:
        """Whether the model runs its own loop in a thread, and not on asyncio."""
        return not MODELS[self.settings.model].uses_event_loop

    def _start_thread(self) -> None:
        (listeners,) = listen(self.settings)
        self.url = url(listeners[0])
        self._control_socket, worker_end = socket.socketpair()

        def run_worker() -> None:
            with worker_end:
                ModelWorker(self.settings, listeners, None).run(worker_end.fileno())

        self._thread = threading.Thread(target=run_worker, name="aserve", daemon=True)
        self._thread.start()

    def _stop_thread(self) -> None:
        with self._control_socket:
            self._control_socket.send(b"s")
            self._thread.join()

    async def _start(self) -> None:
        (listeners,) = listen(self.settings)
        self.url = url(listeners[0])
        self._worker = AsyncioWorker(self.settings, listeners, None)
        try:
            await self._worker.startup()
        except BaseException:
            for listener in listeners:
                listener.close()
            raise

    def _stop_loop_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
