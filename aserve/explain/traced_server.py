"""The traced server: the ordinary one, which also reports the steps of its Python code.

    python -m aserve.explain.traced_server MARKS LISTENER DIR MODEL [--by-the-book]

A profile function in each thread writes a line to the descriptor MARKS for each step in STEPS.
Each line has the time, so that it can be sorted among the system calls that strace reports.
"""

import errno
import fcntl
import inspect
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, cast

from aserve.cache.response_cache import ResponseCache
from aserve.config.settings import Settings
from aserve.http1.connection import H1Connection
from aserve.http1.states import TRANSITIONS
from aserve.linux.io_uring import IoUring
from aserve.linux.posix_aio import PosixAio
from aserve.policies.site import Site
from aserve.server.shutdown_report import RemainingReports
from aserve.server.signals import STOP_WORKER, Signals
from aserve.server.supervisor import Supervisor
from aserve.server.worker import serve
from aserve.transport.completion import CompletionConnection
from aserve.transport.eventloop.thread_pool import ThreadPool
from aserve.transport.models import proactor
from aserve.transport.models.by_the_book.signal_driven import BookSignalDrivenServer
from aserve.transport.models.proactor_aio import AioOperations
from aserve.transport.registry import default_workers

Step = Callable[[FrameType], str | None]


def _describe_transition(frame: FrameType) -> str | None:
    """Return the transition of the state machine, or None if the state stays the same."""
    connection, event = frame.f_locals["self"], frame.f_locals["event"]
    before = connection.state
    after = TRANSITIONS[before, event]
    if before is after:
        return None
    cause = event.name.lower().replace("_", " ")
    return f"state machine: {before.name} to {after.name} ({cause})"


def _describe_request(frame: FrameType) -> str:
    request = frame.f_locals["request"]
    return f"builds the response to {request.method} {request.target}"


def _fixed_text(text: str) -> Step:
    return lambda _frame: text


def _describe_completion(operation: str) -> Step:
    """Return a step for the completion of an io_uring operation, with its result."""

    def describe(frame: FrameType) -> str:
        result = frame.f_locals["result"]
        outcome = errno.errorcode.get(-result, "an error") if result < 0 else f"{result:,}"
        return f"gets the completion of {operation}: {outcome}"

    return describe


def _code(function: Callable[..., object]) -> CodeType:
    """Return the code of a function itself, and not of a decorator around it."""
    return cast("Callable[..., Any]", inspect.unwrap(function)).__code__


STEPS: dict[CodeType, Step] = {
    _code(H1Connection._transition): _describe_transition,  # noqa: SLF001 - every transition goes through it
    _code(Site.handle): _describe_request,
    _code(ResponseCache.lookup_head): _fixed_text("looks up the response in the cache"),
    _code(ThreadPool._deliver): _fixed_text("receives the result from the pool"),  # noqa: SLF001
    _code(AioOperations.receive): _fixed_text("starts to read the socket: aio_read"),
    _code(AioOperations.read_file): _fixed_text("starts to read the file: aio_read"),
    _code(AioOperations.send): _fixed_text("starts to write to the socket: aio_write"),
    _code(BookSignalDrivenServer._on_signal): _fixed_text("the signal handler is called"),  # noqa: SLF001
    _code(BookSignalDrivenServer._beat): _fixed_text("goes on with its main work: a heartbeat"),  # noqa: SLF001
    _code(PosixAio._complete): _fixed_text("gets the result: aio_return"),  # noqa: SLF001
}
# Operations on a ring are no system calls: io_uring_enter submits many of them at once.
RING_STEPS: dict[CodeType, Step] = {
    _code(IoUring.accept): _fixed_text("queues an accept on the ring"),
    _code(IoUring.receive): _fixed_text("queues a receive on the ring"),
    _code(IoUring.read): _fixed_text("queues a read of the file on the ring"),
    _code(IoUring.send): _fixed_text("queues a send on the ring"),
    _code(proactor.ProactorServer._on_accept): _describe_completion("accept"),  # noqa: SLF001
    _code(CompletionConnection._on_received): _describe_completion("receive"),  # noqa: SLF001
    _code(CompletionConnection._on_file_read): _describe_completion("read"),  # noqa: SLF001
    _code(CompletionConnection._on_sent): _describe_completion("send"),  # noqa: SLF001
}
BUILTIN_STEPS = {
    ("c_call", "SimpleQueue.put"): "puts the job into the queue of the pool",
    ("c_return", "SimpleQueue.get"): "takes the job from the queue",
}


class Marker:
    """Writes a line for each step: time, thread, kind and text."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._threads: set[int] = set()
        self._pid = os.getpid()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Handle one event of sys.setprofile."""
        thread = threading.get_native_id()
        if thread not in self._threads:
            self._threads.add(thread)
            is_child = os.getpid() != self._pid
            name = "child process" if is_child else threading.current_thread().name
            self._mark(thread, "thread", name)
        if event == "call" and (step := STEPS.get(frame.f_code)):
            if text := step(frame):
                self._mark(thread, "step", text)
        elif event == "call" and (step := RING_STEPS.get(frame.f_code)):
            self._mark(thread, "ring", step(frame) or "")
        elif event in {"c_call", "c_return"}:
            name = getattr(argument, "__qualname__", "")
            if text := BUILTIN_STEPS.get((event, name)):
                self._mark(thread, "step", text)

    def _mark(self, thread: int, kind: str, text: str) -> None:
        os.write(self._descriptor, f"{time.time():.6f} {thread} {kind} {text}\n".encode())


def profile_signal_handlers() -> None:
    """Have handlers profiled that are set from now on, also where they interrupt the marker."""
    set_handler = signal.signal

    def set_profiled(number: int, handler: Any) -> Any:
        def profiled(*arguments: Any) -> None:
            sys.setprofile(sys.getprofile())  # Python 3.11 leaves it switched off
            handler(*arguments)

        def call(*arguments: Any) -> None:
            sys.call_tracing(profiled, arguments)

        return set_handler(number, call if callable(handler) else handler)

    signal.signal = set_profiled  # type: ignore[assignment]


def main() -> None:
    """Serve until standard input is closed."""
    marks, listener, directory, model, *options = sys.argv[1:]
    marker = Marker(int(marks))
    by_the_book = "--by-the-book" in options
    workers = min(2, default_workers(model))  # of many, all but one would only wait
    settings = Settings(Path(directory), model=model, by_the_book=by_the_book, workers=workers)
    listeners = [socket.socket(fileno=int(listener))]
    profile_signal_handlers()
    threading.setprofile(marker)
    sys.setprofile(marker)
    if workers > 1:
        _supervise(settings, [listeners] * workers)
    else:
        serve(settings, listeners, None, {signal.SIGTERM}, lifeline=0)


def _supervise(settings: Settings, listeners: Sequence[Sequence[socket.socket]]) -> None:
    """Serve in several processes until standard input is closed, which sends a signal."""
    signals = Signals(frozenset({signal.SIGIO}), frozenset())
    signal.pthread_sigmask(signal.SIG_BLOCK, {*signals.handled, STOP_WORKER, signal.SIGCHLD})
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, os.O_ASYNC)

    def run_worker(own: Sequence[socket.socket], lifeline: int) -> None:
        serve(settings, own, None, {STOP_WORKER}, lifeline)

    Supervisor(listeners, run_worker, signals, RemainingReports(print)).run()


if __name__ == "__main__":
    main()
