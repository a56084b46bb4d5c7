"""Tells subscribers of changes on disk: one inotify instance for all of a process, and its rules.

The kernel queues an event before the call that caused it returns. A subscriber that calls
process_changes before it uses what it knows never uses what was true before an earlier change.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

from aserve.filesystem.mounts import Mounts
from aserve.linux.inotify import SELF, Inotify, QueueOverflow, WatchedName
from aserve.linux.readable_signal import ReadableSignal, readable_signal

_MAX_CHANGES = 8_192  # names whose last change is remembered
_MAX_EVENTS = 8_192  # in a second; to process more takes longer than to do without any watches
_MIN_PAUSE = 2  # seconds without watches after a flood of changes; twice as long after the next
_MAX_PAUSE = 64  # seconds


class Subscriber(Protocol):
    """Knows something about files that holds until they change.

    The monitor calls it on the thread of the event loop alone.
    """

    def on_changes(self, names: Sequence[WatchedName]) -> None:
        """Forget what depends on names that have changed."""

    def on_reset(self) -> None:
        """Forget everything: no watch is left, and the numbers of later ones mean others."""

    def uses(self, watch: int) -> bool:
        """Tell whether a watch is still needed."""


class ChangeMonitor:
    """The watches of one process, and its subscribers; for the event loop's thread alone.

    Other threads may only add watches to inotify, and must then pass what they rely on, with the
    generation that was current before, to changed_since on the loop. max_watches: inotify watches
    it may use, None for half of the user's.
    """

    def __init__(self, mounts: Mounts | None = None, *, max_watches: int | None = None) -> None:
        self.mounts = mounts or Mounts()
        self.inotify: Inotify | None
        """None where there is no inotify or no descriptor for it, and after a flood of changes."""
        self.has_changes: Callable[[], object]
        """Tells whether there are changes to process, by one call into C."""
        self._signal: ReadableSignal | None = None
        self._max_watches = max_watches
        self._subscribers: list[Subscriber] = []
        self._changes: dict[WatchedName, int] = {}  # the generation of each one's last change
        self._generation = 0  # how many times changes were read
        self._oldest_generation = 0  # the last one whose changes are no longer known
        self._events = 0  # in this second
        self._pause = 0  # seconds until watches are used again
        self._next_pause = _MIN_PAUSE
        self._start()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Tell a subscriber of all changes from now on."""
        self._subscribers.append(subscriber)

    @property
    def is_paused(self) -> bool:
        """Whether nothing is watched for a while, since there were too many changes."""
        return self._pause > 0

    def generation(self) -> int:
        """Return the current generation, in which all changes until now are known."""
        self.process_changes()
        return self._generation

    def changed_since(self, names: Iterable[WatchedName], generation: int) -> bool:
        """Tell whether a name may have changed since a generation, as far as changes were read."""
        return generation < self._oldest_generation or any(
            self._changes.get(name, 0) > generation for name in names
        )

    def process_changes(self) -> None:
        """Read the changes and notify subscribers; stop watching for a while after too many."""
        if self.inotify and self.has_changes():
            self._read_changes(self.inotify)

    def _read_changes(self, inotify: Inotify) -> None:
        if self._signal:
            self._signal.clear()
        self._generation += 1
        names = _read_changes(inotify)
        self._events += len(names or ())
        if names is None or self._events > _MAX_EVENTS:
            self._start_pause()
            return
        self._notify(names)
        if len(self._changes) > _MAX_CHANGES:
            self._changes.clear()
            self._oldest_generation = self._generation

    def release(self, watch: int) -> None:
        """Remove a watch that a subscriber needs no longer, unless another one does.

        Work in progress may rely on it: for that, and for all subscribers, it counts as a change.
        """
        if self.inotify and not any(each.uses(watch) for each in self._subscribers):
            self.inotify.remove(watch)
            self._generation += 1
            self._notify([(watch, SELF)])

    def reset(self) -> None:
        """Have everything forgotten, and start with a new inotify instance if there is no pause."""
        self._forget_all()
        if not self._pause:
            self._start()

    def tick(self) -> None:
        """Do the work of each second, and notice what makes no event: a mount over a directory."""
        if self.inotify and self.inotify.has_changes():  # were a signal lost, this would end it
            self._read_changes(self.inotify)
        self._events = 0
        if self._pause:
            self._pause -= 1
        elif self._next_pause > _MIN_PAUSE:
            self._next_pause -= 1  # a second without a flood
        if not (self.inotify or self._pause):
            self._start()  # a start may have failed for lack of descriptors
        if self.mounts.refresh():
            self.reset()

    def close(self) -> None:
        """Remove every watch and have everything forgotten; closing twice does no harm."""
        self._forget_all()

    def _start(self) -> None:
        try:
            self.inotify = Inotify(self._max_watches)
        except OSError:
            self._stop()
        else:
            self._signal = readable_signal(self.inotify.fileno())
            self.has_changes = self._signal.has_come if self._signal else self.inotify.has_changes

    def _stop(self) -> None:
        self.inotify, self.has_changes, self._signal = None, bool, None

    def _notify(self, names: Sequence[WatchedName]) -> None:
        oldest = self._oldest_generation
        self._changes.update(dict.fromkeys(names, self._generation))
        for subscriber in self._subscribers:
            if self._oldest_generation > oldest:
                return  # one of them has had everything forgotten
            subscriber.on_changes(names)

    def _start_pause(self) -> None:
        """Stop watching for a while: processing a flood of changes would leave no time to serve."""
        self._pause = self._next_pause
        self._next_pause = min(2 * self._next_pause, _MAX_PAUSE)
        self._forget_all()

    def _forget_all(self) -> None:
        old = [self.inotify]
        self._stop()
        self._generation += 1
        self._oldest_generation = self._generation
        self._changes.clear()
        for subscriber in self._subscribers:
            subscriber.on_reset()
        if old[0]:
            # Closed by the last one that references it, which should not be the event loop: to
            # close one with 10,000 watches takes some ten milliseconds. While the interpreter ends,
            # Python 3.12 and later start no thread.
            with suppress(RuntimeError):
                threading.Thread(target=old.clear, name="aserve-dispose", daemon=True).start()


def _read_changes(inotify: Inotify) -> list[WatchedName] | None:
    """Return the names that have changed; None where there are too many to read."""
    try:
        return inotify.read_changes()
    except QueueOverflow:
        return None
