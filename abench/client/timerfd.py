"""A timer that is exact to the microsecond: timerfd(2), which the event loop watches.

Timers of the event loop have steps of a millisecond, which would show in measured latencies.
"""

import asyncio
import ctypes
import os
from collections.abc import Callable

_CLOCK_MONOTONIC = 1  # which is what time.perf_counter_ns reads on Linux
_TFD_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_TIMER_ABSTIME = 1
_NS = 1_000_000_000

_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Timer:
    """Calls `callback` once, at the time it was last set to."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
        self._loop = loop
        self._callback = callback
        self._descriptor = _libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK_CLOEXEC)
        if self._descriptor < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), "timerfd_create")
        self._spec = _Itimerspec()
        self._pointer = ctypes.byref(self._spec)
        loop.add_reader(self._descriptor, self._on_expired)

    def set(self, time_ns: int) -> None:
        """Expire at `time_ns` of the monotonic clock; at once if that has passed."""
        value = self._spec.value
        value.seconds, value.nanoseconds = divmod(max(time_ns, 1), _NS)
        _libc.timerfd_settime(self._descriptor, _TFD_TIMER_ABSTIME, self._pointer, None)

    def close(self) -> None:
        """Expire no more; may be called more than once."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _on_expired(self) -> None:
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:  # it was set again in the meantime
            return
        self._callback()
