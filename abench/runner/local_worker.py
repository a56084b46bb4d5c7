"""A worker in a process that is forked from this one, with a pipe in each direction."""

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection as Pipe
from typing import NoReturn

from abench.plan.plan import Plan
from abench.runner import worker
from abench.runner.signals import STOP_SIGNALS, signals_blocked
from abench.runner.worker_handle import WorkerHandle
from abench.system import procfs


class LocalWorker(WorkerHandle):
    """A worker process, forked from this one."""

    def __init__(self, share: Plan, others: Sequence[WorkerHandle]) -> None:
        super().__init__()
        self.reports, reports_in = multiprocessing.Pipe(duplex=False)
        orders_out, self.orders = os.pipe()
        with signals_blocked():  # until the child has handlers of its own
            self.pid = os.fork()
            if self.pid == 0:
                _close_inherited([self.orders, *(other.orders for other in others)])
                for other in others:
                    other.reports.close()  # or the last worker would have one for each worker
                _run_child(share, orders_out, reports_in)
        reports_in.close()
        os.close(orders_out)

    def is_stopped(self) -> bool:
        """Whether the worker is suspended (SIGSTOP, a terminal) and may be resumed."""
        return procfs.is_stopped(self.pid)

    def kill(self) -> None:
        """Kill the worker at once."""
        os.kill(self.pid, signal.SIGKILL)

    def reap(self) -> None:
        """Wait until the process has ended."""
        os.waitpid(self.pid, 0)


def _close_inherited(orders: Iterable[int]) -> None:
    """Close what only the parent may write to: a copy would hide the end of the parent."""
    for descriptor in orders:
        with contextlib.suppress(OSError):  # a signal handler has closed it
            os.close(descriptor)


def _run_child(share: Plan, orders: int, reports: Pipe) -> NoReturn:
    """Run a worker in the child, without the parent's signal handlers and exit handlers."""
    code = 3
    try:
        signal.set_wakeup_fd(-1)
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # the parent tells when to stop
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        worker.serve(share, orders, reports.send)
        code = 0
    finally:
        if error := sys.exception():
            with contextlib.suppress(OSError):  # the parent has ended
                reports.send(worker.WorkerError(f"{type(error).__name__}: {error}"))
        os._exit(code)
