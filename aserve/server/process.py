"""A process that serves: from its first connection until a signal, or until it is retired."""

import asyncio
import gc
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from socket import socket
from typing import TYPE_CHECKING, Any

from aserve.config.settings import Settings
from aserve.linux.readable_signal import install_handler
from aserve.linux.signalfd import SignalFd, block_signals
from aserve.server.orders import Kind, Order, OrderReceiver
from aserve.server.rates import Rates, shared_file
from aserve.server.reload import ReloadableWorker
from aserve.server.signals import RETIRE_WORKER
from aserve.transport.internal_errors import describe_exception
from aserve.transport.observers import ReportRemaining, ResponseObserver

if TYPE_CHECKING:
    from aserve.server.model_worker import ModelWorker

SWITCH_INTERVAL_S = 0.0005
"""How long a thread may keep the interpreter while another one waits for it (ADR 40)."""

_logger = logging.getLogger("aserve")


def serve(  # noqa: PLR0913, PLR0917 - everything a process needs
    settings: Settings,
    listeners: Sequence[socket],
    observer: ResponseObserver | None,
    stop_signals: AbstractSet[signal.Signals],
    lifeline: int | None = None,
    report_remaining: ReportRemaining | None = None,
    orders: OrderReceiver | None = None,
) -> bool:
    """Serve with the model of the settings until a stop signal; a second one stops at once.

    Return whether it was retired, and has ended with its last connection.

    lifeline: a pipe that reads as closed when the parent process has ended; then this one stops
    too. report_remaining: is called at the stop with the numbers of responses that are still being
    sent and of open connections. orders: from what manages the server; None for one that is not
    reloaded.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)  # only here: the process of a program is not ours
    _raise_descriptor_limit()
    has_others = settings.workers > 1 or settings.model_info.forks
    rates = Rates(shared_file() if has_others else None)
    if settings.model_info.uses_event_loop:
        install_handler()
        worker = ReloadableWorker(settings, listeners, observer, report_remaining, rates)
        with asyncio.Runner(loop_factory=worker.new_loop) as runner:
            return runner.run(LoopProcess(worker, orders).run(stop_signals, lifeline))
    from aserve.server.model_worker import ModelWorker

    model = ModelWorker(settings, listeners, observer, report_remaining, rates)
    return _run_model(model, stop_signals, lifeline, orders)


def _run_model(
    model: "ModelWorker",
    stop_signals: AbstractSet[signal.Signals],
    lifeline: int | None,
    orders: OrderReceiver | None,
) -> bool:
    """Serve with a model on this thread, as serve says; the signals are blocked until then."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with os.fdopen(read_end, "rb", 0), os.fdopen(write_end, "wb", 0):
        # Python writes a byte for each signal, which wakes up the model, whatever it waits in.
        signal.set_wakeup_fd(write_end)
        stopped: list[int] = []  # the signals, also one that comes when the model has ended

        def stop(number: int, _frame: object) -> None:
            stopped.append(number)
            model.interrupt()

        for number in stop_signals:
            signal.signal(number, stop)
        signal.signal(RETIRE_WORKER, lambda *_: None)  # its byte is all that is needed
        if orders:
            _obey_in_model(model, orders)
        unblocked = {*stop_signals, RETIRE_WORKER, signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, unblocked)
        gc.freeze()
        try:
            has_retired = model.run(read_end, *(() if lifeline is None else (lifeline,)))
            if has_retired:
                block_signals(stop_signals)  # for the program that takes its place
            return has_retired and not stopped
        finally:
            signal.set_wakeup_fd(-1)


def _obey_in_model(model: "ModelWorker", orders: OrderReceiver) -> None:
    """Carry out orders in a thread, or by the model itself where its process has none."""
    orders.reply_started()
    obey = partial(_obey_order, model, orders)
    if not model.call_when_readable(orders.fileno(), obey):
        threading.Thread(target=_obey_until_end, args=(obey,), name="orders", daemon=True).start()


def _obey_until_end(obey: Callable[[], bool]) -> None:
    while obey():
        pass


def _obey_order(model: "ModelWorker", orders: OrderReceiver) -> bool:
    """Wait for an order and carry it out. Return whether more can come."""
    order = orders.receive()
    if not order:
        return False
    if order.kind is Kind.ASK:
        model.call_at_tick(partial(orders.reply, order))
        return True
    reason = ""
    try:
        if order.settings:
            gc.collect()  # as LoopProcess does
            model.prepare(order.settings)
        elif order.kind is Kind.COMMIT:
            model.commit()
        else:
            model.discard()
    except Exception as error:  # noqa: BLE001 - it is reported, and the server goes on
        reason = _reason(error)
    orders.reply(order, reason)
    return True


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or describe_exception(error)


def _raise_descriptor_limit() -> None:
    """Raise the soft limit of descriptors to the hard one: a low default is a relic of select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class LoopProcess:
    """A worker on an event loop, and what its process is told by signals and orders."""

    def __init__(self, worker: ReloadableWorker, orders: OrderReceiver | None) -> None:
        self._worker = worker
        self._orders = orders
        self._stop = asyncio.Event()
        self._is_retired = False  # and every connection is closed
        self._is_stopped = False  # by a signal
        self._tasks: set[asyncio.Task[None]] = set()
        self._obeying = asyncio.Lock()  # one order after the other, however long each takes

    async def run(
        self, stop_signals: AbstractSet[signal.Signals], lifeline: int | None = None
    ) -> bool:
        """Serve until a stop signal, until the lifeline ends, or as long as a retired one must.

        Return whether it was the last of these.
        """
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_on_loop_error)
        # Not by handlers, whose signals any thread may take, and which end with the loop: one that
        # comes while this process is retired stays pending, for the program that takes its place.
        signals = SignalFd({*stop_signals, RETIRE_WORKER})
        loop.add_reader(signals.fileno(), self._read_signals, signals)
        if lifeline is not None:
            loop.add_reader(lifeline, self._stop.set)
        await self._worker.startup()
        # The objects that exist now stay, so that the garbage collector can skip them. With the
        # modules and tables a full collection took 3 ms, in which no client is served; requests
        # leave little.
        gc.freeze()
        if orders := self._orders:
            orders.reply_started()
            loop.add_reader(orders.fileno(), self._on_order, orders)
        await self._stop.wait()
        for descriptor in (lifeline, orders and orders.fileno()):
            if descriptor is not None:
                loop.remove_reader(descriptor)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._worker.shutdown()
        loop.remove_reader(signals.fileno())
        return self._is_retired and not self._is_stopped

    def _read_signals(self, signals: SignalFd) -> None:
        for record in signals.read(0):
            if record.number == RETIRE_WORKER:
                self._spawn(self._retire())
            else:
                (self._worker.abort if self._stop.is_set() else self._stop.set)()
                self._is_stopped = True

    async def _retire(self) -> None:
        await self._worker.retire()
        self._is_retired = True
        self._stop.set()

    def _on_order(self, orders: OrderReceiver) -> None:
        if order := orders.receive():
            if order.kind is Kind.ASK:  # at once: another order may take its time
                orders.reply(order)
            else:
                self._spawn(self._obey(order, orders))
        else:
            asyncio.get_running_loop().remove_reader(orders.fileno())

    async def _obey(self, order: Order, orders: OrderReceiver) -> None:
        reason = ""
        try:
            async with self._obeying:
                await self._carry_out(order)
        except Exception as error:  # noqa: BLE001 - it is reported, and the server goes on
            reason = _reason(error)
        orders.reply(order, reason)

    async def _carry_out(self, order: Order) -> None:
        if order.settings:
            gc.collect()  # what former reloads have left; what existed at the start is frozen
            await self._worker.prepare(order.settings)
        elif order.kind is Kind.COMMIT:
            await self._worker.commit()
        else:
            self._worker.discard()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _on_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log in one line what the event loop would print as a traceback.

    Errors of a client's connection are not logged: when a client resets it between our last write
    and our shutdown, uvloop reports ENOTCONN as an error.
    """
    if "transport" in context and isinstance(context.get("exception"), OSError):
        return
    _logger.error("internal error: %s: %r", context.get("message"), context.get("exception"))
