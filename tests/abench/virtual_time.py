"""Time that passes only when nothing else is left to do, for tests of what takes time.

A loop that has no work does not wait for its next timer: its clock jumps there. So a run of a
minute takes as long as its requests, each of its times is exact, and no other program on the
machine changes one. The server and its client are in this loop, and speak over UNIX sockets: what
one has sent has arrived when its call returns, while TCP on the loopback may take a moment.
"""

import asyncio
import math
import selectors
from collections.abc import Callable
from typing import Any

_START_NS = 1_000 * 10**9


class _Selector(selectors.DefaultSelector):
    """A selector that reports what is ready, and otherwise lets time pass."""

    now_ns = _START_NS

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:  # without a timer, time never passes: another thread must wake the loop
            return super().select(None)
        self.now_ns += math.ceil(timeout * 1e9 - 0.01)  # a double is that exact here
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock of its own."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    @property
    def now_ns(self) -> int:
        """Nanoseconds of the loop's clock."""
        return self._virtual.now_ns

    def time(self) -> float:
        return self._virtual.now_ns / 1e9


def clock() -> int:
    """Return the nanoseconds of the running loop's clock, in place of time.perf_counter_ns."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop.now_ns


class VirtualTimer:
    """Takes the place of the kernel's timer, whose clock is the true one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], Any]) -> None:
        self._loop, self._callback = loop, callback
        self._handle: asyncio.TimerHandle | None = None

    def set(self, time_ns: int) -> None:
        self.close()
        self._handle = self._loop.call_at(time_ns / 1e9, self._callback)

    def close(self) -> None:
        if self._handle:
            self._handle.cancel()
