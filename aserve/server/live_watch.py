"""Live reload of one worker: what watches its files, and what tells the pages."""

import asyncio
import logging
from contextlib import suppress
from functools import partial

from aserve.config.root import named_paths
from aserve.config.settings import Settings
from aserve.config.virtual_hosts import own_hosts
from aserve.filesystem.mounts import Mounts
from aserve.filesystem.tree_watch import INTERVAL, TreeWatch
from aserve.filesystem.watched_tree import MAX_DIRECTORIES, WatchedTree
from aserve.policies.live_reload import LiveReload
from aserve.policies.live_updates import LiveUpdates
from aserve.transport.eventloop.event_stream import EventStream

MAX_START = 2.0
"""Seconds that a start waits for all directories to be watched: a network can take longer."""

_logger = logging.getLogger("aserve")


class LiveWatch:
    """Watches the files of a site, from start to stop, and publishes what changes."""

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.get_running_loop()
        self._updates = LiveUpdates()
        hosts = own_hosts(settings.host, settings.allowed_hosts)
        self.policy = LiveReload(self._updates, partial(EventStream, self._updates), hosts)
        """Puts a script into each page that waits for the updates."""
        # Names of files are only for those who may read them: where that is not everyone who gets
        # the updates, all are told that something has changed.
        self._names_paths = not any(one.sets_access for one in settings.paths)
        self._is_ready = asyncio.Event()
        self._is_late = False
        self._tree = WatchedTree(named_paths(settings.root), Mounts(), settings.visibility)
        self._watch = TreeWatch(self._tree, self._publish, self._on_ready)

    async def start(self) -> None:
        """Begin to watch; return once every later change will be noticed, or after MAX_START."""
        if self._tree.fileno() < 0:
            _logger.warning(
                "live: no inotify instance is left: all files are looked at every %g s", INTERVAL
            )
        self._watch.start()
        try:
            async with asyncio.timeout(MAX_START):
                await self._is_ready.wait()
        except TimeoutError:
            self._is_late = True

    def stop(self) -> None:
        """Watch no longer; stopping twice does no harm."""
        self._watch.stop()

    # Called in the thread that watches.

    def _publish(self, paths: set[bytes] | None) -> None:
        known = paths if self._names_paths else None
        with suppress(RuntimeError):  # the loop is closed: the thread did not stop in time
            self._loop.call_soon_threadsafe(self._updates.publish, known)

    def _on_ready(self) -> None:
        if self._tree.is_partial:
            _logger.warning("live: only %d directories are looked at", MAX_DIRECTORIES)
        with suppress(RuntimeError):  # as above
            self._loop.call_soon_threadsafe(self._set_ready)

    def _set_ready(self) -> None:
        self._is_ready.set()
        if self._is_late:  # what has changed since the start may have been missed
            self._updates.publish(None)
