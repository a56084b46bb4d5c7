"""What the coordinator has of each worker, wherever that runs."""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection as Pipe

from abench.plan.plan import Plan
from abench.stats.nodes import Node


class WorkerHandle:
    """The worker of one share: a process here, or a stand-in for one on another machine.

    `reports` is the pipe with its messages, and ends when it does; `orders` is the descriptor on
    which it receives orders. `last_report_at` and `silent_since`, from when on its silence counts,
    are in seconds of the monotonic clock. `node` is what is known of its machine, if that is
    another one; `lost_because` says what became of it there, such as "left the cluster".
    """

    reports: Pipe
    orders: int
    node: Node | None = None
    lost_because = ""

    def __init__(self) -> None:
        self.note_report(time.monotonic())
        self.is_ready = self.is_finished = False

    def note_report(self, now: float) -> None:
        """Note that the worker has reported, which ends its silence."""
        self.last_report_at = self.silent_since = now

    def send_order(self, order: bytes) -> None:
        """Send an order. If the worker has died, the end of its reports will show it."""
        with contextlib.suppress(OSError):
            os.write(self.orders, order)

    def close_orders(self) -> None:
        """Close the pipe of orders, which stops the worker."""
        if self.orders >= 0:
            os.close(self.orders)
            self.orders = -1

    def is_stopped(self) -> bool:
        """Whether the worker is suspended (SIGSTOP, a terminal) and may be resumed."""
        return False

    def kill(self) -> None:
        """Kill the worker at once."""

    def reap(self) -> None:
        """Wait until the worker has ended and release what it used."""


StartWorker = Callable[[Plan, Sequence[WorkerHandle]], WorkerHandle]
"""Starts the worker of a share; the sequence has the workers that were started before."""
