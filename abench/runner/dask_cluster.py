"""A run over several machines with dask.distributed, whose scheduler knows and reaches the nodes.

One share is pinned to each node. A task there starts an ordinary worker process, which generates
the load. The task itself only forwards orders and messages, so that dask itself is not part of a
measurement. A WorkerHandle stands for each node here, so that all the rest, the common start and
the merging too, is the same as with processes on this machine.
"""

import logging
import multiprocessing
import os
import select
import subprocess
import sys
import threading
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import distributed

from abench.errors import ParameterError, UnreachableError
from abench.plan.plan import Plan
from abench.plan.target import require_printable, shown
from abench.runner import coordinator, remote_worker
from abench.runner.worker_handle import WorkerHandle
from abench.stats.summary import Summary

_CONNECT_TIMEOUT_S = 10.0
_POLL_INTERVAL_S = 1.0
_KEEP_ALIVE = " "  # without an order for REPORT_TIMEOUT_S, a node stops its share
_NOISY_LOGGERS = ("distributed", "tornado", "asyncio")
_CONNECTION_ERRORS = (OSError, RuntimeError)  # raised by dask once its scheduler is gone


def _silence_loggers() -> None:
    """Turn off the logs of dask: its errors are reported by abench, in one line."""
    for name in [*_NOISY_LOGGERS, *logging.root.manager.loggerDict]:
        if name.partition(".")[0] in _NOISY_LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _parse_address(scheduler: str) -> tuple[str, int]:
    """Return the host and port of a scheduler; `tcp://`, which dask prints, may precede them."""
    require_printable("--dask", scheduler)
    try:
        parts = urlsplit(scheduler if "://" in scheduler else f"tcp://{scheduler}")
        host, port = parts.hostname or "", parts.port or 0
        host.encode("idna")  # as the resolver will
    except ValueError:  # includes UnicodeError
        host = ""
    if not host or not port or parts.scheme != "tcp" or parts.path:
        raise ParameterError("--dask", f"{shown(scheduler)!r} is not like host:port")
    return host, port


class Cluster:
    """The nodes of a scheduler, of which `size` are used.

    Making one raises UnreachableError or ParameterError if the scheduler or the nodes are missing.
    """

    def __init__(self, scheduler: str, size: int | None) -> None:
        host, port = _parse_address(scheduler)
        address = f"[{host}]" if ":" in host else host
        _silence_loggers()
        try:
            self._client = distributed.Client(
                f"tcp://{address}:{port}", timeout=_CONNECT_TIMEOUT_S, set_as_default=False
            )
        except OSError as error:
            reason = str(error).splitlines()[0]
            raise UnreachableError(host, port, reason) from None
        with suppress(TimeoutError):  # nodes that start together with this may still be missing
            self._client.wait_for_workers(size or 1, timeout=_CONNECT_TIMEOUT_S)
        nodes = sorted(self._client.scheduler_info(n_workers=-1)["workers"])
        self.size = size or len(nodes)
        if not nodes or self.size > len(nodes):
            self._client.close()
            raise ParameterError(
                "--workers", f"{self.size or 1} wanted, but there are {len(nodes)} nodes"
            )
        self._nodes = nodes[: self.size]

    def run(self, plan: Plan, watch: coordinator.Watcher | None = None) -> Summary:
        """Carry out `plan` on the nodes, and return the merged counts of all of them."""
        free = iter(self._nodes)

        def start_worker(share: Plan, _others: Sequence[WorkerHandle]) -> WorkerHandle:
            return DaskWorker(self._client, next(free), share)

        try:
            return coordinator.run_workers(replace(plan, workers=self.size), start_worker, watch)
        finally:
            self._client.close()


class DaskWorker(WorkerHandle):
    """The stand-in for a node: two threads forward orders to it and reports from it."""

    def __init__(self, client: Any, address: str, share: Plan) -> None:
        super().__init__()
        self._client, self._address = client, address
        name = f"abench-{uuid.uuid4()}"
        self._orders_queue = distributed.Queue(f"{name}-orders", client=client)
        self._reports_queue = distributed.Queue(f"{name}-reports", client=client)
        self.reports, self._reports_in = multiprocessing.Pipe(duplex=False)
        self._orders_out, self.orders = os.pipe()
        self._stopped = threading.Event()
        self._task = client.submit(
            run_share, remote_worker.pack_plan(share), name, key=name, workers=[address],
            allow_other_workers=False, pure=False, retries=0,
        )  # fmt: skip
        self._threads = [
            threading.Thread(target=forward)
            for forward in (self._forward_orders, self._forward_reports)
        ]
        for thread in self._threads:
            thread.start()

    def kill(self) -> None:
        """Cancel the task of the node."""
        self._stopped.set()
        self._task.cancel()

    def reap(self) -> None:
        """Wait for the forwarding threads, and close the queues."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        for queue in (self._orders_queue, self._reports_queue):
            with suppress(*_CONNECTION_ERRORS):
                queue.close()

    def _forward_orders(self) -> None:
        """Forward orders and their end; in between, send keep-alive messages."""
        with (
            os.fdopen(self._orders_out, "rb", buffering=0) as orders,
            suppress(*_CONNECTION_ERRORS),
        ):
            order = _KEEP_ALIVE
            while order:
                self._orders_queue.put(order)
                waiting, _, _ = select.select([orders], (), (), _POLL_INTERVAL_S)
                order = orders.read(1).decode() if waiting else _KEEP_ALIVE
            self._orders_queue.put("")

    def _forward_reports(self) -> None:
        """Forward messages until the last one, or until the node is gone."""
        with self._reports_in:
            while not self._stopped.is_set():
                try:
                    line = self._reports_queue.get(timeout=_POLL_INTERVAL_S)
                except TimeoutError:
                    if self._is_gone():
                        return
                    continue
                except _CONNECTION_ERRORS:
                    return
                if not line:
                    return
                self._reports_in.send(remote_worker.decode(line))

    def _is_gone(self) -> bool:
        nodes = self._client.scheduler_info(n_workers=-1)["workers"]
        return self._address not in nodes or self._task.status in {"error", "cancelled", "lost"}


def run_share(plan: bytes, name: str) -> None:
    """Run the task on a node: start a worker process, forward its orders and its messages."""
    with distributed.worker_client(separate_thread=False) as client:
        orders_queue = distributed.Queue(f"{name}-orders", client=client)
        reports_queue = distributed.Queue(f"{name}-reports", client=client)
        command = [sys.executable, "-m", "abench.runner.remote_worker"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
        assert process.stdin  # noqa: S101 - it is a pipe
        assert process.stdout  # noqa: S101
        process.stdin.write(plan)
        process.stdin.flush()
        orders = threading.Thread(
            target=_forward_orders_to_pipe, args=(orders_queue, process.stdin), daemon=True
        )
        orders.start()
        with process, process.stdout as lines:
            for line in lines:
                reports_queue.put(line.decode())
        reports_queue.put("")


def _forward_orders_to_pipe(orders_queue: Any, pipe: Any) -> None:
    """Forward orders until they end or stay away; the end of the pipe stops the worker."""
    with suppress(*_CONNECTION_ERRORS, ValueError), pipe:
        while order := orders_queue.get(timeout=coordinator.REPORT_TIMEOUT_S):
            if order != _KEEP_ALIVE:
                pipe.write(order.encode())
                pipe.flush()
