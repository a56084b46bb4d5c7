"""Long work in a thread, in steps between which other threads get the interpreter.

A thread that computes is interrupted after 5 ms, unless the process is ours (0.5 ms), and delays
the event loop by as much. To release the interpreter is not enough: the thread has it again before
another one wakes up. So it sleeps.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from threading import Lock, local
from time import monotonic, sleep, thread_time
from typing import TypeVar

_MAX_STEP_S = 0.001  # of the processor
_PAUSE_S = 50e-6  # 0.1 ms in fact, which is 10 % of a step
_BATCH = 64  # items between two looks at the clock
_MAX_TURN_S = 0.05  # longer than on a busy machine, so it waits for a disk

MAX_AT_ONCE = 4_096
"""The most items that one call into C may work on, which keeps the interpreter until it returns.

0.5 ms of sorting. Copies of references are exempt: 50,000 take 0.1 ms.
"""

T = TypeVar("T")


class _Own(local):
    """What a thread has: its turn, and how many blocks it is inside."""

    turn: "Lock | None" = None
    depth = 0


class Turns:
    """Has one thread at a time compute, of those that are inside `with turns:`.

    Without it, the loop waits for each thread that waits for the interpreter as well: beside eight
    listings for up to 34 ms. It is a courtesy and no lock: a thread that has its turn for too long,
    because a disk does not answer, is passed over.

    clock: in seconds, the same for all threads.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._since = clock()  # when the turn began
        self._own = _Own()

    def __enter__(self) -> None:
        """Wait for this thread's turn, unless it has it."""
        if self._own.turn is None:
            self._own.turn = self._take()
        self._own.depth += 1

    def __exit__(self, *_: object) -> None:
        self._own.depth -= 1
        if self._own.turn and not self._own.depth:
            self._own.turn.release()
            self._own.turn = None

    def pause(self) -> None:
        """Sleep for a moment, in which another thread may have its turn."""
        with self._given_away():
            sleep(_PAUSE_S)

    @contextmanager
    def waiting_for(self, lock: Lock) -> Iterator[None]:
        """Hold a lock; as long as another thread has it, this one does without its turn."""
        if not lock.acquire(blocking=False):
            with self._given_away():
                lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _given_away(self) -> Iterator[None]:
        turn = self._own.turn
        if turn is None:
            yield
            return
        turn.release()
        try:
            yield
        finally:
            self._own.turn = self._take()

    def _take(self) -> Lock:
        while not (lock := self._lock).acquire(timeout=max(0.0, self._remaining())):
            if self._remaining() <= 0 and lock is self._lock:
                self._lock = Lock()  # that of a thread that waits is its own from now on
        self._since = self._clock()
        return lock

    def _remaining(self) -> float:
        return self._since + _MAX_TURN_S - self._clock()


turns = Turns()
"""The turns of this process."""


def in_steps(
    items: Iterable[T], batch_size: int = _BATCH, clock: Callable[[], float] = thread_time
) -> Iterator[T]:
    """Yield items, and pause for a moment whenever that has taken a while.

    clock: in seconds; one that all threads share for what several of them do in turn.
    """
    iterator = iter(items)
    began = clock()
    while batch := list(islice(iterator, batch_size)):
        yield from batch
        if clock() - began > _MAX_STEP_S:
            turns.pause()
            began = clock()


def taken(items: list[T]) -> Iterator[T]:
    """Yield the items of a list, which is empty afterwards.

    Each is free at once. A list frees all that it has left in one call: 50,000 names took 2 ms.
    """
    items.reverse()
    while items:
        yield items.pop()
