"""Signal-driven I/O as books have it: a handler serves, and the program does its own work.

Each socket sends SIGIO (fcntl: F_SETOWN_EX, O_ASYNC). The signal interrupts the main work, which is
a heartbeat here; the handler accepts, or reads, handles and writes; and the main work goes on where
it was interrupted. aserve/explain/by_the_book.toml numbers these steps.

Where this departs from the book: Python runs a handler between two bytecodes of the main thread,
and not in the middle of one; so it may do anything, and not only what signal-safety(7) permits. For
several signals it may run once, and it is not told which descriptor they were about. So it asks
poll(2), without a wait, as it must in C as well when there are several sockets: SIGIO is not
queued. Nothing is lost in that way. The tuned model (models/signal_driven.py) reads queued signals,
which name their descriptors, from a signalfd.

Nothing ends a signal handler but its end: what the main thread does with connections itself, once a
second and when it stops, must not be interrupted by it.
"""

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from aserve.http1.limits import Limits
from aserve.linux.signalfd import enable_signal
from aserve.policies.site import Site
from aserve.transport.models.poll import PollPoller
from aserve.transport.multiplexing import MultiplexingServer, Ready
from aserve.transport.observers import ResponseObserver

_BEAT_S = 0.02
_MAX_ROUNDS = 16  # of one call of the handler; then the main work has its turn
_MAX_CONTROL_BYTES = 65_536  # all that fits into a pipe


class SigioPoller(PollPoller):
    """Polls descriptors that also send SIGIO to the thread that registers them."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled: set[int] = set()
        self.has_found = False
        """Whether the last poll has found a descriptor that is ready."""

    def register(self, descriptor: int, *, readable: bool, writable: bool) -> None:
        """Start polling a descriptor, or change what it is polled for."""
        if descriptor not in self._enabled:
            self._enabled.add(descriptor)
            enable_signal(descriptor)
        super().register(descriptor, readable=readable, writable=writable)

    def unregister(self, descriptor: int) -> None:
        """Stop polling a descriptor, whose signals go on until it is closed."""
        self._enabled.discard(descriptor)
        super().unregister(descriptor)

    def poll(self, seconds: float) -> Ready:
        """Return the descriptors that are ready, after a wait of at most this many seconds."""
        ready = list(super().poll(seconds))
        self.has_found = bool(ready)
        return ready


class BookSignalDrivenServer(MultiplexingServer):
    """Serves in a signal handler. It runs on the main thread, where Python calls handlers."""

    poller_class = SigioPoller
    _poller: SigioPoller

    def __init__(
        self, site: Site, limits: Limits, observer: ResponseObserver | None = None
    ) -> None:
        super().__init__(site, limits, observer)
        self._is_serving = True  # no handler may serve until everything is set up
        self._is_signalled = True  # for what came before there was a handler
        self._controls = select.poll()
        self._beats = 0

    def _start(self) -> None:
        signal.signal(signal.SIGIO, self._on_signal)
        # Python reports each signal that has a handler there. That is how others stop the server,
        # and bytes for SIGIO may fill the pipe.
        wakeup_fd = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(wakeup_fd, warn_on_full_buffer=False)

    def _watch_control(self, control_fd: int) -> None:
        # It sends no SIGIO: each one is reported there, and would cause the next.
        os.set_blocking(control_fd, False)
        self._controls.register(control_fd, select.POLLIN)

    # The main work.

    def _run_once(self, timeout: float) -> None:
        with self._uninterrupted():
            self._check_controls()
        if not self._is_signalled:
            self._beat(min(timeout, _BEAT_S))

    def _beat(self, seconds: float) -> None:
        """Do a step of the main work, whatever that may be in another program."""
        self._beats += 1
        time.sleep(seconds)  # a handler that is called meanwhile does not shorten it

    def _check_controls(self) -> None:
        for control_fd, _ in self._controls.poll(0):
            self._read_control(control_fd)

    def _read_control(self, control_fd: int) -> None:
        with suppress(BlockingIOError):
            orders = os.read(control_fd, _MAX_CONTROL_BYTES)
            if not orders:
                self._controls.unregister(control_fd)  # its writer is gone, which means stop, too
                self._request_stop()
            for order in orders.replace(bytes((signal.SIGIO,)), b""):
                self._handle_order(order)

    def _tick(self) -> None:
        with self._uninterrupted():
            super()._tick()
            self._is_signalled = True  # a listener that was paused has sent its signals before

    def _shutdown(self) -> None:
        self._is_serving = True
        signal.signal(signal.SIGIO, signal.SIG_IGN)  # by default it ends the process
        super()._shutdown()

    @contextmanager
    def _uninterrupted(self) -> Iterator[None]:
        """Let no handler serve during the block; a signal that arrives is handled at its end."""
        self._is_serving = True
        try:
            yield
        finally:
            self._is_serving = False
        self._serve()

    # The handler.

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._is_signalled = True
        self._serve()

    def _serve(self) -> None:
        """Serve all that is ready, unless a handler that was interrupted by this one does it."""
        while self._is_signalled and not self._is_serving:
            self._is_serving = True
            try:
                has_more = self._serve_rounds()
            finally:
                self._is_serving = False
            if has_more:  # the main work goes on, and comes back to it at once
                self._is_signalled = True
                return

    def _serve_rounds(self) -> bool:
        """Serve in rounds until nothing is ready. Return whether more may be ready."""
        for _ in range(_MAX_ROUNDS):
            self._is_signalled = False  # first: a signal from now on means another round
            super()._run_once(0)
            if not (self._poller.has_found or self._pending or self._is_signalled):
                return False
        return True
