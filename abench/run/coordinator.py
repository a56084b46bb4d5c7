"""A run over several processes: forked, started together, heard through pipes as webbench's were.

Each worker has two pipes. On one it reports; its end without a Done means that the worker died.
On the other it waits for one octet, the start; the end of that pipe stops it, and comes by itself
when this process dies.
"""

import contextlib
import multiprocessing
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from types import FrameType, TracebackType
from typing import NoReturn, Self

from abench.client import connector
from abench.errors import AbenchError, ParameterError, UnreachableError
from abench.plan.plan import Plan
from abench.run import worker
from abench.run.warmup import WarmUp
from abench.stats.summary import Summary
from abench.system import procfs

REPORT_TIMEOUT_S = (
    15.0  # a worker reports five times a second: this long without a word, it is lost
)
CONNECT_REPORT_TIMEOUT_S = 2 * worker.CONNECT_LIMIT_S
STOPPED_TIMEOUT_S = (
    600.0  # a stopped worker of a run without a length is waited for as long as this
)
WATCH_INTERVAL_S = 0.2
STALL_S = 1.0  # this much later than it should have looked, this process did not run
_SSL_PLACE = re.compile(r"^_ssl\.c:\d+: ")
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
RESERVED_DESCRIPTORS = 64  # descriptors a process needs beside its connections
_PIPES = 2  # ends that this process has of the pipes to a worker: its orders and its reports

Watcher = Callable[[Summary, float], object]


def run(plan: Plan, watch: Watcher | None = None) -> Summary:
    """Carry out `plan` and return what was counted.

    `watch` is called several times a second with what is counted so far and the seconds since the
    start (0 while connections are being opened). SIGINT and SIGTERM stop the run early, and the
    Summary says so; a second one raises KeyboardInterrupt at once. Raises UnreachableError
    and ParameterError before anything is started. This process is forked, so it should have no
    other threads.
    """
    plan = resolve(plan)
    raise_descriptor_limit(plan)
    return run_workers(plan, LocalWorker, watch)


def run_workers(plan: Plan, start_worker: "StartWorker", watch: Watcher | None = None) -> Summary:
    """Have `plan` carried out by members that `recruit` makes, one for each of its shares."""
    crew = WorkerGroup(plan, start_worker)
    with _stop_on_signal(crew.stop), crew:
        return crew.run(watch or (lambda _summary, _elapsed: None))


def resolve(plan: Plan) -> Plan:
    """Connect to the server once and return `plan` with the address that answered.

    The name is resolved here and nowhere else, so that all workers load the same address. Raises
    UnreachableError when there is none.
    """
    try:
        return replace(plan, address=connector.probe(plan))
    except OSError as error:
        host, port = plan.route.endpoint(plan.target)
        raise UnreachableError(plan.route.unix or host, port, _error_reason(error)) from None


def _error_reason(error: OSError) -> str:
    """Return an operating system's reason as the end of a sentence."""
    reason = getattr(error, "verify_message", "") or error.strerror or str(error)
    reason = _SSL_PLACE.sub("", reason)
    return reason[:1].lower() + reason[1:]


def raise_descriptor_limit(plan: Plan) -> None:
    """Let each worker have as many open files as its connections need, and this process its pipes.

    Raises ParameterError when the hard limit forbids it: such a run could only report failures of
    its own making.
    """
    workers = plan.processes
    each = -(-plan.connections // workers) + RESERVED_DESCRIPTORS
    here = _PIPES * workers + RESERVED_DESCRIPTORS
    limit = _raise_limit(max(each, here))
    if limit < each:
        raise ParameterError(
            "--connections",
            f"{plan.connections} in {workers} worker{'s' * (workers > 1)} need {each} open files "
            f"each, "
            f"the limit is {limit} (ulimit -Hn)",
        )
    if limit < here:
        raise ParameterError(
            "--workers", f"{workers} need {here} open files, the limit is {limit} (ulimit -Hn)"
        )


def _raise_limit(needed: int) -> int:
    """Raise the limit of open files as far as it goes, if that is needed; return what it is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed and hard != soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


class WorkerHandle:
    """Who carries out one share: a process here, or something that stands for one elsewhere.

    `reports` is where its messages come from, and ends when it does; `orders` the descriptor that
    it is told by. `heard` is when it last reported, in seconds.
    """

    reports: Pipe
    orders: int

    def __init__(self) -> None:
        self.last_report_at = time.monotonic()
        self.is_ready = self.is_finished = False

    def send_order(self, order: bytes) -> None:
        """Tell it something; it may have died or been stopped, and will tell."""
        with contextlib.suppress(OSError):
            os.write(self.orders, order)

    def close_orders(self) -> None:
        """End its orders, which stops it."""
        if self.orders >= 0:
            os.close(self.orders)
            self.orders = -1

    def is_stopped(self) -> bool:
        """Whether somebody has stopped it (SIGSTOP, a terminal): it will go on where it was."""
        return False

    def kill(self) -> None:
        """End it at once."""

    def reap(self) -> None:
        """Wait until nothing of it is left."""


StartWorker = Callable[[Plan, Sequence[WorkerHandle]], WorkerHandle]
"""Makes the member for a share, beside those that are there."""


class LocalWorker(WorkerHandle):
    """A worker process, forked from this one."""

    def __init__(self, share: Plan, others: Sequence[WorkerHandle]) -> None:
        super().__init__()
        self.reports, reports_in = multiprocessing.Pipe(duplex=False)
        orders_out, self.orders = os.pipe()
        with _signals_blocked():  # until the child has handlers of its own
            self.pid = os.fork()
            if self.pid == 0:
                _close_inherited([self.orders, *(member.orders for member in others)])
                for member in others:
                    member.reports.close()  # or the last worker would have as many as there are
                _run_child(share, orders_out, reports_in)
        reports_in.close()
        os.close(orders_out)

    def is_stopped(self) -> bool:
        """Whether somebody has stopped it (SIGSTOP, a terminal): it will go on where it was."""
        return procfs.is_stopped(self.pid)

    def kill(self) -> None:
        """End it at once."""
        os.kill(self.pid, signal.SIGKILL)

    def reap(self) -> None:
        """Wait until it has ended."""
        os.waitpid(self.pid, 0)


def _close_inherited(orders: Iterable[int]) -> None:
    """Close what only the parent may write to: a copy would outlive it and hide its death."""
    for descriptor in orders:
        with contextlib.suppress(OSError):  # a signal has had it closed
            os.close(descriptor)


class WorkerGroup:
    """The members of one run. Leaving its context ends and reaps every one of them."""

    def __init__(self, plan: Plan, recruit: StartWorker) -> None:
        self._start_worker = recruit
        self._summary = Summary()
        self._workers: list[WorkerHandle] = []
        self._started: float | None = None
        self._warmup = WarmUp(plan)
        self._counting_since: float | None = None  # when the run's clock started
        self._plan = plan
        self._last_look = time.monotonic()

    def __enter__(self) -> Self:
        for share in self._plan.split(self._plan.processes):
            self._workers.append(self._start_worker(share, self._workers))
        if self._summary.stopped_by:  # by a signal that came before all of them were there
            self.stop(self._summary.stopped_by)
        self._working = list(self._workers)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for member in self._working:
            member.kill()
        for member in self._workers:
            member.close_orders()
            member.reap()
            member.reports.close()

    def stop(self, number: int) -> None:
        """End the run: every worker stops, and still reports what it has counted."""
        self._summary.stopped_by = number
        for member in self._workers:
            member.close_orders()

    def run(self, watch: Watcher) -> Summary:
        """Start the workers when all of them are ready, and count until the last has ended."""
        while self._working:
            heard = set(wait([member.reports for member in self._working], WATCH_INTERVAL_S))
            for member in [member for member in self._working if member.reports in heard]:
                self._on_readable(member)
            self._start_when_ready()
            self._count_when_warm()
            self._excuse_own_stall()
            self._kill_silent()
            elapsed = time.monotonic() - self._counting_since if self._counting_since else 0.0
            watch(self._summary, elapsed)
        self._summary.warmup_requests += self._warmup.requests
        return self._summary

    def _on_readable(self, member: WorkerHandle) -> None:
        """Take one message, or the end of them, from a worker."""
        try:
            message: worker.Message = member.reports.recv()
        except (EOFError, OSError):
            self._working.remove(member)
            if not member.is_finished:
                self._on_lost(member)
            return
        member.last_report_at = time.monotonic()
        self._on_message(member, message)

    def _on_message(self, member: WorkerHandle, message: worker.Message) -> None:
        match message:
            case Summary():
                self._summary.merge(message)
            case worker.WarmupUpdate():
                self._warmup.add(member.last_report_at - (self._started or 0.0), message.part)
            case worker.Ready():
                member.is_ready = True
                self._summary.open_connections += message.open_connections
            case worker.Started():
                self._record_start(member.last_report_at - (self._started or 0.0))
            case worker.Finished():
                member.is_finished = True
                self._summary.merge(message.last)
            case worker.WorkerError():
                self._on_error(message)

    def _on_error(self, fault: worker.WorkerError) -> None:
        """Take note of an error; one that no run can begin with ends it for all of them."""
        if self._started is None and fault.exit_code != AbenchError.exit_code:
            error = AbenchError(fault.reason)
            error.exit_code = fault.exit_code
            raise error
        self._summary.faults.append(fault.reason)

    def _record_start(self, after_s: float) -> None:
        """Take note of how late a share can have started at the latest, by this machine's clock.

        It did between the order and its message, so that no two started further apart than the
        longest of these: a bound for which no two clocks have to be compared.
        """
        self._summary.start_within_ns = max(self._summary.start_within_ns, round(after_s * 1e9))

    def _on_lost(self, member: WorkerHandle) -> None:
        """Keep what a dead worker had reported, and the time in which it did."""
        self._summary.lost += 1
        if self._counting_since:
            elapsed_ns = round((member.last_report_at - self._counting_since) * 1e9)
            self._summary.elapsed_ns = max(self._summary.elapsed_ns, elapsed_ns)

    def _start_when_ready(self) -> None:
        if self._started or not all(member.is_ready for member in self._working):
            return
        self._started = time.monotonic()
        if not self._plan.warms_up:
            self._counting_since = self._started
        for member in self._working:
            member.last_report_at = self._started
        self._send_all(worker.START)

    def _count_when_warm(self) -> None:
        """Start the run's clock at the end of the warm-up."""
        if self._started is None or self._counting_since:
            return
        now = time.monotonic()
        if self._warmup.is_finished(now - self._started):
            self._counting_since = now
            self._summary.warmup_ns = round((now - self._started) * 1e9)
            self._summary.steady = self._warmup.steady
            self._send_all(worker.START_COUNTING)

    def _send_all(self, order: bytes) -> None:
        for member in self._working:
            member.send_order(order)

    def _kill_silent(self) -> None:
        """Kill a worker that no longer reports, so that it cannot hold up the run's end."""
        limit = (
            REPORT_TIMEOUT_S if self._started else CONNECT_REPORT_TIMEOUT_S + self._plan.timeout_s
        )
        for member in self._working:
            waits = member.is_ready and not self._started
            if waits or time.monotonic() - member.last_report_at <= limit:
                continue
            if time.monotonic() < self._wait_for_stopped_until() and member.is_stopped():
                member.last_report_at = (
                    time.monotonic()
                )  # once it goes on, it has as long as any other
            else:
                member.kill()

    def _wait_for_stopped_until(self) -> float:
        """Return until when a stopped worker is waited for: for as long as the run has time."""
        if self._summary.stopped_by or not self._started:
            return 0.0
        return (
            (self._counting_since or self._started)
            + (self._plan.duration_s or STOPPED_TIMEOUT_S)
            + REPORT_TIMEOUT_S
        )

    def _excuse_own_stall(self) -> None:
        """Take no silence for one that fell into a pause of this process: nobody listened.

        Whoever stops a run and lets it go on (Ctrl-Z, a debugger, a frozen container) stops its
        workers as well, and they have not yet had the time to say anything.
        """
        now, before = time.monotonic(), self._last_look
        self._last_look = now
        if now - before > WATCH_INTERVAL_S + STALL_S:
            for member in self._working:
                member.last_report_at = max(member.last_report_at, now)


def _run_child(share: Plan, orders: int, reports: Pipe) -> NoReturn:
    """Be a worker, and nothing of the parent: neither its signals nor its way out."""
    code = 3
    try:
        signal.set_wakeup_fd(-1)
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # the parent says when to stop
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        worker.serve(share, orders, reports.send)
        code = 0
    finally:
        if error := sys.exception():
            with contextlib.suppress(OSError):  # the parent is gone
                reports.send(worker.WorkerError(f"{type(error).__name__}: {error}"))
        os._exit(code)


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Let the signals that stop a run wait."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _stop_on_signal(stop: Callable[[int], None]) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM call `stop`, and the second raise KeyboardInterrupt.

    A SIGINT that is ignored stays so: shells start a script's background commands like this
    (POSIX XCU 2.11), and Ctrl-C is not meant for them.
    """
    heeded = [n for n in STOP_SIGNALS if n == signal.SIGTERM or not _is_ignored(n)]

    def first(number: int, _frame: FrameType | None) -> None:
        for each in heeded:
            signal.signal(each, second)
        stop(number)

    def second(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    try:
        before = {n: signal.signal(n, first) for n in heeded}
    except ValueError:  # only the main thread may handle signals; elsewhere they stay its affair
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_ignored(number: signal.Signals) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN
