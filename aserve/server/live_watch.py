"""Live reload of one worker: what watches its files, and what tells the pages."""

import asyncio
from contextlib import suppress
from functools import partial

from aserve.config.root import named_paths
from aserve.config.settings import Settings
from aserve.filesystem.mounts import Mounts
from aserve.filesystem.tree_watch import TreeWatch
from aserve.filesystem.watched_tree import WatchedTree
from aserve.policies.live_reload import LiveReload
from aserve.policies.live_updates import LiveUpdates
from aserve.transport.eventloop.event_stream import EventStream


class LiveWatch:
    """Watches the files of a site, from start to stop, and publishes what changes."""

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.get_running_loop()
        self._updates = LiveUpdates()
        self.policy = LiveReload(self._updates, partial(EventStream, self._updates), settings.host)
        """Puts a script into each page that waits for the updates."""
        self._is_ready = asyncio.Event()
        tree = WatchedTree(named_paths(settings.root), Mounts(), settings.visibility)
        self._watch = TreeWatch(tree, self._publish, self._on_ready)

    async def start(self) -> None:
        """Begin to watch; return once every later change will be noticed."""
        self._watch.start()
        await self._is_ready.wait()

    def stop(self) -> None:
        """Watch no longer; stopping twice does no harm."""
        self._watch.stop()

    def _publish(self, paths: set[bytes] | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: the thread did not stop in time
            self._loop.call_soon_threadsafe(self._updates.publish, paths)

    def _on_ready(self) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._is_ready.set)
