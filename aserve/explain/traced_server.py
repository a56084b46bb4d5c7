"""The traced server: the ordinary one, which also reports the steps of its Python code.

    python -m aserve.explain.traced_server MARKS LISTENER DIR SETTINGS

A profile function in each thread writes a line to the descriptor MARKS for each step in STEPS, and
for each line of Python that is about to make a system call. SETTINGS is a JSON object. Each line
has the time, so that it can be sorted among the system calls that strace reports.
"""

import errno
import fcntl
import inspect
import json
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

import aserve.server.folders  # noqa: F401 - or its imports would be among the first listing's steps
from aserve.cache.response_cache import ResponseCache
from aserve.config.settings import Settings
from aserve.explain.events import Activity, Mark, write_mark
from aserve.explain.phrase import Phrase
from aserve.explain.source_lines import CALLS
from aserve.http1.connection import H1Connection
from aserve.http1.states import TRANSITIONS
from aserve.linux.io_uring import IoUring
from aserve.linux.posix_aio import PosixAio
from aserve.policies.site import Site
from aserve.server.listener_groups import ListenerGroups
from aserve.server.process import serve
from aserve.server.shutdown_report import RemainingReports
from aserve.server.signals import STOP_WORKER, Signals
from aserve.server.supervisor import Supervisor
from aserve.transport.completion import CompletionConnection
from aserve.transport.eventloop.thread_pool import ThreadPool
from aserve.transport.models import proactor
from aserve.transport.models.by_the_book.signal_driven import BookSignalDrivenServer
from aserve.transport.models.proactor_aio import AioOperations
from aserve.transport.registry import default_workers

Step = Callable[[FrameType], Phrase | None]

_PACKAGE = Path(__file__).parent.parent
_ROOT = f"{_PACKAGE.parent}{os.sep}"


def _describe_transition(frame: FrameType) -> Phrase | None:
    """Return the transition of the state machine, or None if the state stays the same."""
    connection, event = frame.f_locals["self"], frame.f_locals["event"]
    before = connection.state
    after = TRANSITIONS[before, event]
    if before is after:
        return None
    cause = event.name.lower().replace("_", " ")
    names = {"before": before.name, "after": after.name}
    return Phrase(f"state machine: {{before}} to {{after}} ({cause})", names)


def _describe_request(frame: FrameType) -> Phrase:
    request = frame.f_locals["request"]
    what = {"method": str(request.method), "target": str(request.target)}
    return Phrase("builds the response to {method} {target}", what)


def _fixed_text(text: str) -> Step:
    return lambda _frame: Phrase(text)


def _describe_completion(operation: str) -> Step:
    """Return a step for the completion of an io_uring operation, with its result."""

    def describe(frame: FrameType) -> Phrase:
        result = frame.f_locals["result"]
        outcome = errno.errorcode.get(-result, "an error") if result < 0 else f"{result:,}"
        return Phrase(f"gets the completion of {operation}: {{result}}", {"result": outcome})

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
QUEUE_STEPS = {
    ("c_call", "SimpleQueue.put"): (Activity.PUT, "puts the job into the queue of the pool"),
    ("c_call", "SimpleQueue.get"): (Activity.WAIT, ""),
    ("c_return", "SimpleQueue.get"): (Activity.TAKE, "takes the job from the queue"),
}
"""What a thread does with the queue; WAIT: it may have to wait from now on."""


class Marker:
    """Writes a line for each step."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._threads: set[int] = set()
        self._process = os.getpid()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Handle one event of sys.setprofile."""
        if event == "call":
            self._mark_step(frame)
        elif event in {"c_call", "c_return"}:
            self._mark_builtin(frame, event, argument)

    def _mark_step(self, frame: FrameType) -> None:
        code = frame.f_code
        if step := STEPS.get(code):
            self._mark(Activity.COMPUTE.name, frame, step(frame))
        elif step := RING_STEPS.get(code):
            is_end = "result" in frame.f_locals
            kind = Activity.COMPLETE if is_end else Activity.SUBMIT
            self._mark(kind.name, frame, step(frame), _ring_key(frame))

    def _mark_builtin(self, frame: FrameType, event: str, argument: Any) -> None:
        name = getattr(argument, "__qualname__", "")
        if step := QUEUE_STEPS.get((event, name)):
            activity, text = step
            self._mark(activity.name, frame, Phrase(text), str(id(argument.__self__)))
        elif event == "c_call" and name in CALLS:
            self._mark("line", frame, Phrase(name))

    def _mark(self, kind: str, frame: FrameType, phrase: Phrase | None, key: str = "") -> None:
        if not phrase:
            return
        thread = threading.get_native_id()
        if thread not in self._threads:
            self._threads.add(thread)
            is_child = os.getpid() != self._process
            name = "ChildProcess" if is_child else threading.current_thread().name
            self._write(Mark(time.time(), thread, "thread", name, {}, "", ""))
        values = dict(phrase.values)
        self._write(Mark(time.time(), thread, kind, phrase.template, values, _source(frame), key))

    def _write(self, mark: Mark) -> None:
        os.write(self._descriptor, write_mark(mark))


def _source(frame: FrameType) -> str:
    """Return the line of this package that a call comes from, as "aserve/x.py:12"."""
    here: FrameType | None = frame
    while here and not here.f_code.co_filename.startswith(f"{_PACKAGE}{os.sep}"):
        here = here.f_back
    return f"{here.f_code.co_filename.removeprefix(_ROOT)}:{here.f_lineno}" if here else ""


def _ring_key(frame: FrameType) -> str:
    """Return the socket that an operation on the ring is about, "" for none."""
    values = frame.f_locals
    found = values.get("listener") or values.get("connection") or values.get("self")
    sock = getattr(found, "socket", found)
    if isinstance(sock, socket.socket):
        return str(sock.fileno())
    return str(sock) if isinstance(sock, int) else ""


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
    marks, listener, directory, options_text = sys.argv[1:]
    marker = Marker(int(marks))
    options = json.loads(options_text)
    options["write"] = tuple(options.get("write", ()))
    workers = min(2, default_workers(options["model"]))  # of many, all but one would only wait
    settings = Settings(Path(directory), workers=workers, **options)
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

    def run_worker(
        settings: Settings, own: Sequence[socket.socket], lifeline: int, _orders: object
    ) -> None:
        serve(settings, own, None, {STOP_WORKER}, lifeline)

    groups = ListenerGroups(listeners)
    Supervisor(settings, groups, run_worker, signals, RemainingReports(print)).run()


if __name__ == "__main__":
    main()
