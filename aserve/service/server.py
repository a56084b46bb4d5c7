"""A site served from inside a program: in its own loop, or beside it in a thread."""

import asyncio
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aserve.service.loops import new_event_loop
from aserve.service.sockets import listen, url
from aserve.service.worker import Worker
from aserve.settings import Settings


class Server:
    """Serves a folder for as long as a `with` or an `async with` block lasts.

    root: the folder; port: 0 for any free one. Other settings are those of aserve.Settings.
    `async with` serves in the running loop; `with` in a thread of its own, for programs and tests
    that have no loop. Raises aserve.SettingsError, or aserve.CannotListen on entering.
    """

    def __init__(self, root: str | os.PathLike[str], *, port: int = 0, **settings: Any) -> None:
        self.settings = Settings(Path(root), port=port, **settings)
        self.url = ""
        """Where the site is, with its last slash, while it is served."""
        self._worker: Worker
        self._thread: threading.Thread

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self._worker.shutdown()

    def __enter__(self) -> Self:
        self._loop = new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="aserve", daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        except BaseException:
            self._end_thread()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._worker.shutdown(), self._loop).result()
        self._end_thread()

    async def _start(self) -> None:
        (listener,) = listen(self.settings)
        self.url = url(listener)
        self._worker = Worker(self.settings, listener, None)
        try:
            await self._worker.startup()
        except BaseException:
            listener.close()
            raise

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
