"""A thread that looks at a tree of files, and passes on each burst of changes once it is over."""

import logging
import os
import select
import threading
import time
from collections.abc import Callable

from aserve.filesystem.debounce import Debounce
from aserve.filesystem.watched_tree import WatchedTree

INTERVAL = 0.5
"""Seconds between two looks at what makes no events."""

_PAUSE_FACTOR = 5  # a look that takes long is followed by a pause of so many times its length
_LONG_STEP = 0.02  # seconds
_JOIN_TIMEOUT = 1.0  # seconds; a network file system may never answer

_logger = logging.getLogger("aserve")

Publish = Callable[[set[bytes] | None], None]
"""Gets the paths that have changed; None where it may be any."""


class TreeWatch:
    """Watches a tree of files, from start to stop, and closes it.

    publish: gets the changes, in the thread. on_ready: is called there once every later change will
    be noticed.
    """

    def __init__(
        self, tree: WatchedTree, publish: Publish, on_ready: Callable[[], None] = lambda: None
    ) -> None:
        self._tree = tree
        self._publish = publish
        self._on_ready = on_ready
        self._debounce = Debounce()
        self._next_look = 0.0  # of the monotonic clock
        self._stop_event = os.eventfd(0, os.EFD_CLOEXEC)
        self._stop_poll = select.poll()
        self._stop_poll.register(self._stop_event, select.POLLIN)
        self._thread = threading.Thread(target=self._run, name="aserve-live", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer: nothing is published any more. Stopping twice does no harm."""
        if self._stop_event < 0:
            return
        self._tree.is_closed = True
        os.eventfd_write(self._stop_event, 1)
        if self._thread.ident:
            self._thread.join(_JOIN_TIMEOUT)
        if not self._thread.is_alive():
            self._tree.close()
            os.close(self._stop_event)
        self._stop_event = -1

    def _run(self) -> None:
        try:
            self._tree.scan()
            self._on_ready()
            self._watch()
        except Exception as error:  # noqa: BLE001 - the boundary of the thread
            _logger.error("internal error: %r: changes are not noticed any more", error)
            self._on_ready()

    def _watch(self) -> None:
        poll, tree, stop_event = select.poll(), self._tree, self._stop_event
        poll.register(stop_event, select.POLLIN)
        if tree.fileno() >= 0:
            poll.register(tree.fileno(), select.POLLIN)
        while not tree.is_closed:
            ready = {descriptor for descriptor, _ in poll.poll(self._timeout() * 1_000)}
            if stop_event in ready:
                return
            started_at = time.monotonic()
            self._step(has_events=tree.fileno() in ready)
            self._rest(time.monotonic() - started_at)

    def _rest(self, duration: float) -> None:
        """Leave the interpreter to the clients after a step that took long, as in a flood."""
        if duration > _LONG_STEP:
            self._stop_poll.poll(duration * 1_000)

    def _timeout(self) -> float:
        """Return the seconds until the next look, or until a burst of changes is over."""
        now = time.monotonic()
        until_quiet = self._debounce.remaining(now)
        until_look = max(0.0, self._next_look - now)
        return until_look if until_quiet is None else min(until_quiet, until_look)

    def _step(self, *, has_events: bool) -> None:
        tree, debounce = self._tree, self._debounce
        count = tree.change_count
        if has_events:
            tree.read_events()
        if time.monotonic() >= self._next_look:
            self._look()
        now = time.monotonic()
        if tree.change_count > count:
            debounce.note(now)
            if tree.is_compared:  # once more before the burst counts as over
                self._next_look = min(self._next_look, now + (debounce.remaining(now) or 0.0))
        if debounce.remaining(now) == 0.0:
            debounce.reset()
            changes = tree.take_changes()
            if changes is None or changes:
                self._publish(changes)

    def _look(self) -> None:
        started_at = time.monotonic()
        self._tree.compare()
        now = time.monotonic()
        self._next_look = now + max(INTERVAL, _PAUSE_FACTOR * (now - started_at))
