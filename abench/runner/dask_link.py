"""Orders to the nodes of a run, and reports from them, through the scheduler of dask.

Both are events of dask: published once, and delivered on streams that are open anyway. All of it
runs in the event loop of one client, so that a node costs this process no thread, and the order to
start is one message for all nodes.
"""

import asyncio
import multiprocessing
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from abench.plan.plan import Plan
from abench.runner import coordinator, remote_worker
from abench.runner.dask_node import END, HELLO, KEEP_ALIVE, REPORTS, orders_topic, run_share
from abench.runner.worker_handle import WorkerHandle
from abench.stats.nodes import Node

_WATCH_INTERVAL_S = 1.0
_KEEP_ALIVES = 5  # that a node must miss in a row to end its share
_RPC_TIMEOUT_S = 5.0
_CONNECTION_ERRORS = (OSError, RuntimeError)  # raised by dask once its scheduler is gone
_FAILED = {"error", "cancelled", "lost"}


class DaskLink:
    """The messages between one run and its nodes. Leaving the context ends the shares."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._run = uuid.uuid4().hex
        self._workers: list[DaskWorker] = []
        self._due: dict[str, list[int]] = {}  # orders, and the numbers of the nodes that get them

    def __enter__(self) -> Self:
        self._client.sync(self._open)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(TimeoutError, *_CONNECTION_ERRORS):
            self._client.sync(self._close, callback_timeout=_RPC_TIMEOUT_S)

    def start_worker(self, address: str, share: Plan) -> "DaskWorker":
        """Start a share on the node with this address."""
        number = len(self._workers)
        task = self._client.submit(
            run_share, remote_worker.pack_plan(share), self._run, number,
            coordinator.REPORT_TIMEOUT_S, key=f"abench-{self._run}-{number}", workers=[address],
            allow_other_workers=False, pure=False, retries=0,
        )  # fmt: skip
        worker = DaskWorker(self, number, address, task)
        self._workers.append(worker)
        self.call(self._listen, worker)
        return worker

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function in the event loop of the client, soon."""
        self._client.loop.add_callback(function, *arguments)

    def wait_for(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function in the event loop of the client, and wait until it has returned."""

        async def run() -> None:
            function(*arguments)

        self._client.sync(run)

    async def _open(self) -> None:
        self._wakeup = asyncio.Event()
        self._is_closing = False
        self._client.subscribe_topic(REPORTS, self._on_report)
        self._sending = asyncio.ensure_future(self._send_orders())
        self._watching = asyncio.ensure_future(self._watch_nodes())

    async def _close(self) -> None:
        """End the shares that have not ended, and tell their nodes."""
        self._watching.cancel()
        for worker in list(self._open_workers()):
            worker.lose("was told to end")
        self._is_closing = True
        self._wakeup.set()
        await self._sending

    def _open_workers(self) -> Iterator["DaskWorker"]:
        return (worker for worker in self._workers if worker.is_open)

    def _listen(self, worker: "DaskWorker") -> None:
        asyncio.get_running_loop().add_reader(worker.orders_out, self._read_orders, worker)

    def _read_orders(self, worker: "DaskWorker") -> None:
        """Pass on orders as they come; the end of the pipe is the order to end."""
        orders = os.read(worker.orders_out, 16).decode()
        if not orders:
            asyncio.get_running_loop().remove_reader(worker.orders_out)
        for order in orders or END:
            self.send(order, worker.number)

    def send(self, order: str, number: int) -> None:
        """Send an order to a node: with all others that get the same, in one message."""
        self._due.setdefault(order, []).append(number)
        self._wakeup.set()

    async def _send_orders(self) -> None:
        """Send what is due, and keep-alive messages in between."""
        with suppress(*_CONNECTION_ERRORS):
            while self._due or not self._is_closing:
                await self._send_due()
                with suppress(TimeoutError):
                    await asyncio.wait_for(
                        self._wakeup.wait(), coordinator.REPORT_TIMEOUT_S / _KEEP_ALIVES
                    )
                self._wakeup.clear()
                if not self._is_closing:
                    self._due[KEEP_ALIVE] = [worker.number for worker in self._open_workers()]

    async def _send_due(self) -> None:
        """Send orders in the order in which they were given: one after the other."""
        while self._due:
            order = next(iter(self._due))
            numbers = self._due.pop(order)
            await self._client.log_event([orders_topic(self._run, each) for each in numbers], order)

    def _on_report(self, event: tuple[float, Any]) -> None:
        """Pass on a message of a node, which is empty if the share has ended."""
        _, (run, number, line) = event
        if run != self._run:
            return  # of another run on these nodes
        worker = self._workers[number]
        if line == HELLO:
            self._wakeup.set()
        elif line:
            worker.receive(line)
        else:
            worker.end()

    async def _watch_nodes(self) -> None:
        """Look once a second which nodes the scheduler still has, and which shares have failed."""
        while True:
            await asyncio.sleep(_WATCH_INTERVAL_S)
            with suppress(TimeoutError, *_CONNECTION_ERRORS):
                present = await asyncio.wait_for(self._client.nthreads(), _RPC_TIMEOUT_S)
                for worker in list(self._open_workers()):
                    if worker.address not in present:
                        worker.lose("left the cluster")
                    elif worker.task.status in _FAILED:
                        worker.lose(await _failure(worker.task))
            if self._client.status != "running":  # and what it had subscribed to is forgotten
                for worker in list(self._open_workers()):
                    worker.lose("lost the scheduler")


async def _failure(task: Any) -> str:
    error = await task.exception() if task.status == "error" else None
    return f"failed: {type(error).__name__}: {error}" if error else "lost its task"


class DaskWorker(WorkerHandle):
    """The stand-in for a node: its pipes end in the event loop of the link."""

    def __init__(self, link: DaskLink, number: int, address: str, task: Any) -> None:
        super().__init__()
        self.number, self.address, self.task = number, address, task
        self.node: Node = Node(address.rpartition("/")[2])
        self._link = link
        self.reports, self._reports_in = multiprocessing.Pipe(duplex=False)
        self.orders_out, self.orders = os.pipe()
        self.is_open = True

    def kill(self) -> None:
        """End the share: its node is told, and not waited for."""
        self._link.call(self.lose, "")

    def reap(self) -> None:
        """Release the pipes."""
        self.reports.close()  # so that nothing waits for this process to read
        self._link.wait_for(self._release)

    def receive(self, line: str) -> None:
        """Pass on a message, unless this share was given up."""
        if self.is_open:
            self.node.messages += 1
            self.node.message_bytes += len(line)
            with suppress(OSError):  # it was reaped
                self._reports_in.send(remote_worker.decode(line))

    def lose(self, why: str) -> None:
        """Give the share up."""
        if self.is_open:
            self.lost_because = self.lost_because or why
            self.end()
            self.task.release()  # if it has not begun, it never will
            self._link.send(END, self.number)

    def end(self) -> None:
        """End the messages of this share."""
        self.is_open = False
        self._reports_in.close()

    def _release(self) -> None:
        self.end()
        asyncio.get_running_loop().remove_reader(self.orders_out)
        os.close(self.orders_out)
