"""Ends a server by itself: after a time, after downloads, or when no request came for a while."""

import mmap
import os
import time
from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import NamedTuple, Protocol

from aserve.config.stop_limits import StopAfter, describe_count, describe_duration
from aserve.http.messages import Request
from aserve.linux.tcp_connections import has_connections
from aserve.server.downloads import is_download
from aserve.transport.observers import ResponseObserver, SignalledObserver

LOOK_AGAIN_S = 5.0
"""How often connections are looked for that are open though no request has come for long."""

_STARTED_AT, _LAST_REQUEST_AT, _DOWNLOADS, _SIZE = 0, 1, 2, 3


class StopConditions(NamedTuple):
    """When a server ends. idle: seconds without a request or an open connection, 0 for never."""

    after: StopAfter
    idle: int

    def reason(self, running: float, unused: float, downloads: int) -> str:
        """Return why it ends now, "" if it does not.

        running: seconds since its start. unused: seconds since the last request, 0 while anyone is
        connected. downloads: since its start.
        """
        if self.after.downloads and downloads >= self.after.downloads:
            return describe_count(downloads, "download")
        if self.after.seconds and running >= self.after.seconds:
            return f"{describe_duration(self.after.seconds)} after its start"
        if self.idle and unused >= self.idle:
            return f"no request for {describe_duration(self.idle)}"
        return ""

    def next_look(self, running: float, unused: float) -> float | None:
        """Return the seconds after which it may end, None if it ends with a download alone."""
        left = [self.after.seconds - running] if self.after.seconds else []
        left += [self.idle - unused] if self.idle else []
        return max(0.0, min(left)) if left else None


class Tally:
    """What the processes of a server have seen together, by two descriptors that they share.

    A counter of downloads (eventfd(2)), whose reader is woken by each; and numbers in memory, with
    the times of the monotonic clock at which the server has started and has last been asked. Both
    pass to the programs that take its place. descriptors: of the program before, () for none.
    """

    def __init__(self, now: float, descriptors: Sequence[int] = ()) -> None:
        if descriptors:
            self._counter, self._memory = descriptors
        else:
            self._counter = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._memory = os.memfd_create("aserve-auto-stop", os.MFD_CLOEXEC)
            os.truncate(self._memory, 8 * _SIZE)
        self._numbers = memoryview(mmap.mmap(self._memory, 8 * _SIZE)).cast("d")
        if not descriptors:
            self._numbers[_STARTED_AT] = self._numbers[_LAST_REQUEST_AT] = now

    @property
    def descriptors(self) -> tuple[int, int]:
        """The descriptors that another program needs."""
        return self._counter, self._memory

    @property
    def started_at(self) -> float:
        """When the server has started."""
        return self._numbers[_STARTED_AT]

    @property
    def last_request_at(self) -> float:
        """When a response has last ended."""
        return self._numbers[_LAST_REQUEST_AT]

    @last_request_at.setter
    def last_request_at(self, now: float) -> None:
        self._numbers[_LAST_REQUEST_AT] = now  # eight bytes, which are written at once

    def fileno(self) -> int:
        """Return the descriptor that is readable when there are downloads to be collected."""
        return self._counter

    def add_download(self) -> None:
        """Count a download; any process may call this."""
        os.eventfd_write(self._counter, 1)

    def collect_downloads(self) -> int:
        """Return how many there were since the start; only what manages the server calls this."""
        with suppress(BlockingIOError):  # there are no more of them
            self._numbers[_DOWNLOADS] += os.eventfd_read(self._counter)
        return int(self._numbers[_DOWNLOADS])


class Caller(Protocol):
    """What calls functions later, as aserve.server.control.Control does."""

    def call_later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call a function at that time."""

    def call_when_readable(self, descriptor: int, call: Callable[[], object]) -> None:
        """Call a function each time that a descriptor is readable."""


class AutoStop:
    """Looks when conditions are met, on the thread of what a server is asked.

    clock: returns the time of the monotonic clock. is_connected: tells whether connections to some
    places are open.
    """

    def __init__(
        self,
        conditions: StopConditions,
        descriptors: Sequence[int] = (),
        clock: Callable[[], float] = time.monotonic,
        is_connected: Callable[[Collection[int | str]], bool] = has_connections,
    ) -> None:
        self._conditions = conditions
        self._clock = clock
        self._is_connected = is_connected
        self._tally = Tally(clock(), descriptors)
        self._has_ended = False  # a second stop would end responses at once

    @property
    def descriptors(self) -> tuple[int, int]:
        """What another program needs, that takes the place of this one, to go on as this one."""
        return self._tally.descriptors

    def observing(self, other: ResponseObserver | None) -> ResponseObserver | None:
        """Return what calls an observer, and notes of each response what conditions need."""
        if not (self._conditions.idle or self._conditions.after.downloads):
            return other
        if not other:
            return self._record
        if isinstance(other, SignalledObserver):
            return _SignalledPair(other, self._record)
        return _Pair(other, self._record)

    def use(
        self,
        caller: Caller,
        end: Callable[[str], object],
        places: Callable[[], Collection[int | str]],
    ) -> None:
        """Call end with the reason once a condition is met. places: those of ListenerGroups."""
        self._caller, self._end, self._places = caller, end, places
        caller.call_when_readable(self._tally.fileno(), self._look)
        self._look_again()

    def _record(  # noqa: PLR0913, PLR0917 - as ResponseObserver
        self,
        client: str,  # noqa: ARG002 - as well
        request: Request,
        status: int,
        body_size: int,  # noqa: ARG002
        started_at: float,  # noqa: ARG002
        truncated: bool = False,
        /,
    ) -> None:
        if self._conditions.idle:
            self._tally.last_request_at = self._clock()
        if self._conditions.after.downloads and is_download(request, status, truncated=truncated):
            self._tally.add_download()

    def _look_again(self) -> None:
        if not self._look():
            running, unused = self._times()
            seconds = self._conditions.next_look(running, unused)
            if seconds is not None:
                # None too soon: what is overdue waits for connections to end.
                self._caller.call_later(seconds or LOOK_AGAIN_S, self._look_again)

    def _look(self) -> bool:
        """End the server if a condition is met; return whether one was."""
        running, unused = self._times()
        is_overdue = 0 < self._conditions.idle <= unused
        if is_overdue and self._is_connected(self._places()):
            unused = 0.0
        reason = self._conditions.reason(running, unused, self._tally.collect_downloads())
        if reason and not self._has_ended:
            self._has_ended = True
            self._end(reason)
        return self._has_ended

    def _times(self) -> tuple[float, float]:
        """Return the seconds since the start, and since the last request."""
        now = self._clock()
        return now - self._tally.started_at, now - self._tally.last_request_at


class _Pair:
    """Two observers: the first one hears of a response first."""

    def __init__(self, first: ResponseObserver, second: ResponseObserver) -> None:
        self._first, self._second = first, second

    def __call__(  # noqa: PLR0913, PLR0917 - as ResponseObserver
        self,
        client: str,
        request: Request,
        status: int,
        body_size: int,
        started_at: float,
        truncated: bool = False,
        /,
    ) -> None:
        self._first(client, request, status, body_size, started_at, truncated)
        self._second(client, request, status, body_size, started_at, truncated)


class _SignalledPair(_Pair):
    """The same, of which the first one wants signals of the process."""

    def __init__(self, first: SignalledObserver, second: ResponseObserver) -> None:
        super().__init__(first, second)
        self.signals: AbstractSet[int] = first.signals
        self.on_signal = first.on_signal
        self.on_exit = first.on_exit
