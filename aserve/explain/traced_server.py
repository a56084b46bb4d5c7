"""The server that is looked at: the ordinary one, which also says what its Python code does.

    python -m aserve.explain.traced_server MARKS LISTENER FOLDER MODEL

A profile function in each thread writes a line to the descriptor MARKS for every step of STEPS.
Under strace these are system calls among the others, and so in their right place.
"""

import errno
import inspect
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, cast

from aserve.cache.response_cache import ResponseCache
from aserve.config.settings import Settings
from aserve.handlers.static_site import StaticSite
from aserve.http1.connection import H1Connection
from aserve.http1.states import TRANSITIONS
from aserve.linux.io_uring import IoUring
from aserve.linux.posix_aio import AioReader
from aserve.server.worker import serve
from aserve.transport.eventloop.thread_pool import ThreadPool
from aserve.transport.models import proactor, proactor_aio

Step = Callable[[FrameType], str | None]


def _describe_transition(frame: FrameType) -> str | None:
    """Say which step the state machine takes."""
    exchange, event = frame.f_locals["self"], frame.f_locals["event"]
    before = exchange.state
    after = TRANSITIONS[before, event]
    if before is after:
        return None
    happened = event.name.lower().replace("_", " ")
    return f"state machine: {before.name} to {after.name} ({happened})"


def _describe_request(frame: FrameType) -> str:
    request = frame.f_locals["request"]
    return f"works out the response to {request.method} {request.target}"


def _fixed_text(text: str) -> Step:
    return lambda _frame: text


def _describe_completion(operation: str) -> Step:
    """Say that the kernel has completed what a ring was asked for, and what came of it."""

    def said(frame: FrameType) -> str:
        result = frame.f_locals["result"]
        come_to = errno.errorcode.get(-result, "an error") if result < 0 else f"{result:,}"
        return f"is told that {operation} is complete: {come_to}"

    return said


def _code(function: Callable[..., object]) -> CodeType:
    """Return the code of a function itself, and not of what it may be wrapped in."""
    return cast("Callable[..., Any]", inspect.unwrap(function)).__code__


STEPS: dict[CodeType, Step] = {
    _code(H1Connection._transition): _describe_transition,  # noqa: SLF001 - every transition goes through it
    _code(StaticSite.handle): _describe_request,
    _code(ResponseCache.lookup_head): _fixed_text("looks whether the reply is remembered"),
    _code(ThreadPool._deliver): _fixed_text("takes the result back"),  # noqa: SLF001
    _code(AioReader.start_read): _fixed_text("has the C library read the file: aio_read"),
    _code(proactor_aio.AioConnection._on_file_read): _fixed_text("has what was read: aio_return"),  # noqa: SLF001
}
# What passes through a ring is no system call: io_uring_enter hands many operations over at once.
RING_STEPS: dict[CodeType, Step] = {
    _code(IoUring.accept): _fixed_text("asks the ring to accept connections"),
    _code(IoUring.receive): _fixed_text("asks the ring to receive"),
    _code(IoUring.read): _fixed_text("asks the ring to read the file"),
    _code(IoUring.send): _fixed_text("asks the ring to send"),
    _code(proactor.ProactorServer._on_accept): _describe_completion("accept"),  # noqa: SLF001
    _code(proactor.UringConnection._on_received): _describe_completion("receive"),  # noqa: SLF001
    _code(proactor.UringConnection._on_file_read): _describe_completion("read"),  # noqa: SLF001
    _code(proactor.UringConnection._on_sent): _describe_completion("send"),  # noqa: SLF001
}
BUILTIN_STEPS = {
    ("c_call", "SimpleQueue.put"): "puts it into the queue of the threads",
    ("c_return", "SimpleQueue.get"): "takes it from the queue",
}


class Marker:
    """Writes a line for each step: time, thread, and what it is."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._known: set[int] = set()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Look at one call, as sys.setprofile has it."""
        thread = threading.get_native_id()
        if thread not in self._known:
            self._known.add(thread)
            self._mark(thread, "thread", threading.current_thread().name)
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


def main() -> None:
    """Serve until standard input ends."""
    marks, listener, folder, model = sys.argv[1:]
    marker = Marker(int(marks))
    settings = Settings(Path(folder), model=model)
    threading.setprofile(marker)
    sys.setprofile(marker)
    serve(settings, [socket.socket(fileno=int(listener))], None, {signal.SIGTERM}, lifeline=0)


if __name__ == "__main__":
    main()
