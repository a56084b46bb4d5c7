"""What a node of a dask cluster does for a run: it starts a worker process, and passes messages on.

dask itself takes no part in the load. The orders to each share are a topic of events; the reports
of all shares of all runs are another.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import IO

import distributed

from abench.runner import remote_worker

REPORTS = "abench-reports"
"""One topic for all runs: a scheduler keeps the last thousand events of each topic."""

HELLO = "hello"
KEEP_ALIVE = remote_worker.KEEP_ALIVE.decode()
END = "."
_HELLO_TIMEOUT_S = 60.0


def orders_topic(run: str, number: int) -> str:
    """Return the topic with the orders to a share of a run."""
    return f"abench-orders-{run}-{number}"


def run_share(plan: bytes, run: str, number: int, lease_s: float) -> None:
    """Carry out a share of a run; it ends after `lease_s` seconds without a message of its owner.

    The process starts when the first message is here: from then on none can be missed, the order
    to start least of all.
    """
    node, client = distributed.get_worker(), distributed.get_client()
    share = _Share()

    def report(line: str) -> None:
        node.log_event(REPORTS, [run, number, line])

    client.subscribe_topic(orders_topic(run, number), share.on_order)
    try:
        report(HELLO)
        if not share.is_wanted.wait(_HELLO_TIMEOUT_S):
            raise TimeoutError(f"no order for {_HELLO_TIMEOUT_S:.0f} s")
        for line in share.run(plan, lease_s):
            report(line)
    finally:
        client.unsubscribe_topic(orders_topic(run, number))
    report("")


class _Share:
    """A share on this node; `is_wanted` is set by the first message of its owner."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: IO[bytes] | None = None  # the input of its process
        self._has_ended = False
        self.is_wanted = threading.Event()

    def on_order(self, event: tuple[float, str]) -> None:
        """Pass on an order. Runs in the event loop of the node."""
        _, order = event
        with self._lock:
            self._has_ended |= order == END
            if self._orders:
                self._write(self._orders, order)
        self.is_wanted.set()

    def run(self, plan: bytes, lease_s: float) -> Iterator[str]:
        """Run the worker process, and yield its messages."""
        command = [sys.executable, "-m", "abench.runner.remote_worker", str(lease_s)]
        with (
            suppress(BrokenPipeError),  # it has died, and the end of its messages shows it
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,  # noqa: S603
        ):
            assert process.stdin  # noqa: S101 - it is a pipe
            assert process.stdout  # noqa: S101
            process.stdin.write(plan)
            process.stdin.flush()
            with self._lock:
                self._orders = process.stdin
                if self._has_ended:
                    self._write(process.stdin, END)
            for line in process.stdout:
                yield line.decode()

    @staticmethod
    def _write(orders: IO[bytes], order: str) -> None:
        """Write an order to the process, to which the end of its input is the order to end."""
        with suppress(OSError, ValueError):  # it has ended
            if order == END:
                orders.close()
            else:
                os.write(orders.fileno(), order.encode())
