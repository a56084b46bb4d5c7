"""Runs what `aserve DIR` has set up: in this process, or in several under a supervisor."""

import signal
from collections.abc import Callable, Sequence
from functools import partial
from socket import socket
from typing import TYPE_CHECKING

from aserve.cli.access_log_option import OpenedLog
from aserve.cli.current_configuration import CurrentConfiguration
from aserve.cli.exit_codes import FAILED, OK
from aserve.config.settings import Settings
from aserve.server.listener_groups import ListenerGroups
from aserve.server.listeners import duplicate
from aserve.server.orders import OrderReceiver
from aserve.server.process import serve
from aserve.server.reloading import Reloading
from aserve.server.shutdown_report import format_remaining
from aserve.server.signals import WORKER_SIGNALS, Signals, call_on_signal
from aserve.server.single_process import SingleProcess

if TYPE_CHECKING:
    from aserve.observability.access_log import AccessLog
    from aserve.observability.log_process import LogProcess
    from aserve.server.auto_stop import AutoStop
    from aserve.transport.observers import ResponseObserver

PrintLine = Callable[[str], None]


def run(
    settings: Settings,
    current: CurrentConfiguration,
    signals: Signals,
    groups: ListenerGroups,
    print_line: PrintLine,
    reloading: Reloading,
) -> int:
    """Serve until a signal; return the exit code."""
    if reloading.inherited.is_worker:
        _run_stand_in(settings, current, groups, reloading)
        return OK
    if settings.workers == 1 and not settings.model_info.forks:
        _run_alone(settings, current.log, signals, groups, print_line, reloading)
        return OK
    from aserve.server.shutdown_report import RemainingReports
    from aserve.server.supervisor import Supervisor

    remaining = RemainingReports(print_line)
    run_worker = partial(_run_worker, current, reloading.auto_stop, remaining.send)
    supervisor = Supervisor(settings, groups, run_worker, signals, remaining, reloading)
    return OK if supervisor.run() else FAILED


def _run_alone(
    settings: Settings,
    opened_log: OpenedLog | None,
    signals: Signals,
    groups: ListenerGroups,
    print_line: PrintLine,
    reloading: Reloading,
) -> None:
    """Serve in this thread, managed by another one."""
    log = opened_log.write() if opened_log else None
    reopen = log.reopen if log else lambda: None
    manager = SingleProcess(settings, groups, signals, reopen, reloading)
    manager.start()
    observer = _observing(reloading.auto_stop, log.record if log else None)

    def report(responses: int, connections: int) -> None:
        manager.on_stopping()
        _print_remaining(print_line, responses, connections)

    has_retired = False
    try:
        (assigned,) = groups.assign(settings)
        listeners = duplicate(assigned)  # an upgrade needs them after they were closed
        has_retired = serve(
            settings, listeners, observer, signals.stop, None, report, manager.orders
        )
    finally:
        manager.orders.end()  # or a reload would wait for a reply from this thread
        if not has_retired:
            _close_log(log, signals, settings.grace)
    if has_retired:
        if log:
            log.close(settings.grace)
        manager.finish_upgrade()
    manager.wait_workers(settings.grace)


def _run_stand_in(
    settings: Settings, current: CurrentConfiguration, groups: ListenerGroups, reloading: Reloading
) -> None:
    """Serve as a worker of the program that has started this one."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # only that program acts on what comes from outside
    inherited = reloading.inherited
    orders, (lifeline,) = inherited.open_orders(), inherited.lifeline
    run_worker = partial(_run_worker, current, reloading.auto_stop, lambda *_: None)
    run_worker(settings, groups.sockets, lifeline, orders)


def _print_remaining(print_line: PrintLine, responses: int, connections: int) -> None:
    if line := format_remaining(responses, connections):
        print_line(line)


def _observing(
    auto_stop: "AutoStop | None", observer: "ResponseObserver | None"
) -> "ResponseObserver | None":
    return auto_stop.observing(observer) if auto_stop else observer


def _run_worker(
    current: CurrentConfiguration,
    auto_stop: "AutoStop | None",
    report_remaining: Callable[[int, int], None],
    settings: Settings,
    listeners: Sequence[socket],
    lifeline: int,
    orders: OrderReceiver,
) -> None:
    """Run a worker under a supervisor, from its first connection to its last log line."""
    signals = WORKER_SIGNALS
    opened_log = current.log
    log: AccessLog | LogProcess | None = None
    observer: ResponseObserver | None = None
    if opened_log and settings.model_info.forks:
        log = observer = _start_log_process(opened_log, settings.grace)
    elif opened_log:
        log = _write_log(opened_log)
        observer = log.record
    observer = _observing(auto_stop, observer)
    try:
        serve(settings, listeners, observer, signals.stop, lifeline, report_remaining, orders)
    finally:
        _close_log(log, signals, settings.grace)


def _close_log(log: "AccessLog | LogProcess | None", signals: Signals, grace: float) -> None:
    for number in signals.stop:  # so that another signal ends the wait for the log
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.stop)
    if log:
        log.close(grace)


def _start_log_process(opened_log: OpenedLog, grace: float) -> "LogProcess":
    from aserve.observability.log_process import LogProcess

    return LogProcess(partial(_write_log, opened_log), grace, WORKER_SIGNALS.reopen)


def _write_log(opened_log: OpenedLog) -> "AccessLog":
    """Begin to write the log, and have a thread wait for the signal that reopens it."""
    log = opened_log.write()
    call_on_signal(WORKER_SIGNALS.reopen, lambda _: log.reopen())
    return log
