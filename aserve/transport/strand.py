"""Worker threads for connections whose operations complete on one thread."""

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable

from aserve.transport.internal_errors import log_internal_error
from aserve.transport.worker_threads import WorkerThreads

Call = Callable[[], object]


class StrandPool:
    """Runs strands on worker threads; on the calling thread before start and after shutdown.

    The arguments are those of WorkerThreads.
    """

    def __init__(self, threads: int, dispatch: str, queue: int) -> None:
        self._arguments = threads, dispatch, Strand.run, queue
        self._workers: WorkerThreads[Strand] | None = None

    def start(self) -> None:
        """Start the threads."""
        self._workers = WorkerThreads(*self._arguments)

    @property
    def is_full(self) -> bool:
        """Whether as many strands wait for a thread as may."""
        return bool(self._workers and self._workers.is_full)

    def submit(self, strand: "Strand") -> None:
        """Have a worker run a strand. Only one thread may call this."""
        if self._workers:
            self._workers.submit(strand)
        else:
            strand.run()

    def shutdown(self) -> None:
        """Stop the threads, after everything that was submitted."""
        if self._workers:
            self._workers.shutdown()
            self._workers = None


class Strand:
    """Calls of one connection: one after another and in order, each on any worker.

    The word is Boost.Asio's. It takes the place of a lock around the connection.
    """

    __slots__ = ("_calls", "_is_scheduled", "_lock", "_pool")

    def __init__(self, pool: StrandPool) -> None:
        self._pool = pool
        self._calls: deque[Call] = deque()
        self._is_scheduled = False
        self._lock = threading.Lock()

    def post(self, call: Call) -> None:
        """Have a function called. Only the thread that submits to the pool may post."""
        with self._lock:
            self._calls.append(call)
            if self._is_scheduled:
                return
            self._is_scheduled = True
        self._pool.submit(self)

    def post_request(self, call: Call, reject: Call) -> None:
        """Post a call, or call reject at once if too many strands wait for a worker already."""
        if self._pool.is_full and not self._is_scheduled:  # so that no worker has it
            reject()
        else:
            self.post(call)

    def run(self) -> None:
        """Make the calls, until none is left."""
        while call := self._next_call():
            try:
                call()
            except Exception as error:  # noqa: BLE001 - the connection has its own boundaries
                log_internal_error(error, "-")

    def _next_call(self) -> Call | None:
        with self._lock:
            if self._calls:
                return self._calls.popleft()
            self._is_scheduled = False
            return None


class Inbox:
    """Calls that other threads have one thread make, which reads its descriptor.

    is_blocking: whether a read of the descriptor waits.
    """

    def __init__(self, *, is_blocking: bool = False) -> None:
        flags = os.EFD_CLOEXEC | (0 if is_blocking else os.EFD_NONBLOCK)
        self._descriptor = os.eventfd(0, flags)
        weakref.finalize(self, os.close, self._descriptor)
        self._calls: deque[Call] = deque()
        self._is_signalled = False

    def fileno(self) -> int:
        """Return the descriptor, which becomes readable when there are calls; it has 8 bytes."""
        return self._descriptor

    @property
    def is_empty(self) -> bool:
        """Whether there are no calls to be made."""
        return not self._calls

    def post(self, call: Call) -> None:
        """Have a function called; from any thread."""
        self._calls.append(call)
        if not self._is_signalled:
            self._is_signalled = True
            os.eventfd_write(self._descriptor, 1)

    def read(self) -> None:
        """Read the descriptor, and make the calls."""
        os.eventfd_read(self._descriptor)
        self.make_calls()

    def make_calls(self) -> None:
        """Make the calls, after the descriptor was read."""
        self._is_signalled = False  # first: a call that is posted from now on signals again
        while self._calls:
            self._calls.popleft()()
