"""A run over several processes: forked, started together, reporting through pipes as in webbench.

Each worker has two pipes. On one it reports; if it closes without a Finished, the worker died.
On the other it waits for one byte, the start. The end of that pipe stops the worker, and comes by
itself when this process dies.
"""

import time
from collections.abc import Callable
from multiprocessing.connection import wait
from types import TracebackType
from typing import Self

from abench.errors import AbenchError
from abench.plan.plan import Plan
from abench.runner import preflight, worker
from abench.runner.local_worker import LocalWorker
from abench.runner.signals import stop_on_signal
from abench.runner.warmup import WarmUp
from abench.runner.worker_handle import StartWorker, WorkerHandle
from abench.stats.summary import Summary

REPORT_TIMEOUT_S = 15.0  # workers report five times a second; after this silence one is lost
CONNECT_REPORT_TIMEOUT_S = 2 * worker.CONNECT_LIMIT_S
STOPPED_TIMEOUT_S = 600.0  # how long a run without a duration waits for a stopped worker
WATCH_INTERVAL_S = 0.2
STALL_S = 1.0  # if the loop is later than this, this process itself did not run
SILENCE_S = 1.0  # a worker that is silent for longer may be suspended

Watcher = Callable[[Summary, float], object]


def run(plan: Plan, watch: Watcher | None = None) -> Summary:
    """Carry out `plan` and return the merged counts of all workers.

    `watch` is called several times a second with the counts so far and the seconds since the start
    (0 while connections are being opened). SIGINT and SIGTERM stop the run early, and the Summary
    says so; a second one raises KeyboardInterrupt at once. Raises UnreachableError and
    ParameterError before anything is started. This process is forked, so it should have no other
    threads.
    """
    plan = preflight.resolve(plan)
    preflight.raise_descriptor_limit(plan)
    summary = run_workers(plan, LocalWorker, watch)
    preflight.record_lookup(plan, summary)
    return summary


def run_workers(plan: Plan, start_worker: StartWorker, watch: Watcher | None = None) -> Summary:
    """Carry out `plan` with workers from `start_worker`, one for each share of it."""
    workers = WorkerGroup(plan, start_worker)
    with stop_on_signal(workers.stop), workers:
        return workers.run(watch or (lambda _summary, _elapsed: None))


class WorkerGroup:
    """The workers of one run. Leaving the context kills and reaps every one of them."""

    def __init__(self, plan: Plan, start_worker: StartWorker) -> None:
        self._start_worker = start_worker
        self._summary = Summary()
        self._workers: list[WorkerHandle] = []
        self._started_at: float | None = None
        self._warmup = WarmUp(plan)
        self._counting_since: float | None = None  # when the clock of the run started
        self._plan = plan
        self._last_wakeup = time.monotonic()

    def __enter__(self) -> Self:
        for share in self._plan.split(self._plan.processes):
            self._workers.append(self._start_worker(share, self._workers))
        if self._summary.stopped_by:  # by a signal before all of them were started
            self.stop(self._summary.stopped_by)
        self._working = list(self._workers)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._working:
            handle.kill()
        for handle in self._workers:
            handle.close_orders()
            handle.reap()
            handle.reports.close()

    def stop(self, number: int) -> None:
        """Stop the run: every worker stops, and still reports what it has counted."""
        self._summary.stopped_by = number
        for handle in self._workers:
            handle.close_orders()

    def run(self, watch: Watcher) -> Summary:
        """Start the workers once all are ready; merge their reports until the last has ended."""
        while self._working:
            readable = set(wait([handle.reports for handle in self._working], WATCH_INTERVAL_S))
            now = time.monotonic()
            for handle in [handle for handle in self._working if handle.reports in readable]:
                self._on_readable(handle)
            self._start_when_ready()
            self._count_when_warm()
            self._excuse_own_stall(now)
            self._kill_silent(now)
            elapsed = time.monotonic() - self._counting_since if self._counting_since else 0.0
            watch(self._summary, elapsed)
        self._summary.warmup_requests += self._warmup.requests
        self._summary.nodes = [handle.node for handle in self._workers if handle.node]
        return self._summary

    def _on_readable(self, handle: WorkerHandle) -> None:
        """Read one message of a worker, or the end of its messages."""
        try:
            message: worker.Message = handle.reports.recv()
        except (EOFError, OSError):
            self._working.remove(handle)
            if not handle.is_finished:
                self._on_lost(handle)
            return
        handle.note_report(time.monotonic())
        self._on_message(handle, message)

    def _on_message(self, handle: WorkerHandle, message: worker.Message) -> None:
        match message:
            case Summary():
                self._merge(handle, message)
            case worker.WarmupUpdate():
                self._warmup.add(handle.last_report_at - (self._started_at or 0.0), message.counts)
            case worker.Ready():
                handle.is_ready = True
                self._summary.open_connections += message.open_connections
                if handle.node:
                    handle.node.connections = message.open_connections
            case worker.Started():
                self._record_start(handle)
            case worker.Finished():
                handle.is_finished = True
                self._merge(handle, message.last)
            case worker.WorkerError():
                self._on_error(message)

    def _on_error(self, message: worker.WorkerError) -> None:
        """Record an error; before the start, an error that the user can mend ends the whole run."""
        if self._started_at is None and message.exit_code != AbenchError.exit_code:
            error = AbenchError(message.reason)
            error.exit_code = message.exit_code
            raise error
        self._summary.faults.append(message.reason)

    def _merge(self, handle: WorkerHandle, counts: Summary) -> None:
        self._summary.merge(counts)
        if handle.node:
            handle.node.succeeded += counts.succeeded
            handle.node.failed += counts.failed

    def _record_start(self, handle: WorkerHandle) -> None:
        """Record by how much a worker can have started late at most, by this machine's clock.

        It started between the order and its message. So no two workers started further apart than
        the longest of these times: a bound that needs no comparison of two clocks.
        """
        within_ns = round((handle.last_report_at - (self._started_at or 0.0)) * 1e9)
        if handle.node:
            handle.node.start_within_s = within_ns / 1e9
        self._summary.start_within_ns = max(self._summary.start_within_ns, within_ns)

    def _on_lost(self, handle: WorkerHandle) -> None:
        """Count a dead worker; what it had reported is kept, with the time in which it did."""
        self._summary.lost += 1
        if self._counting_since:
            elapsed_ns = round((handle.last_report_at - self._counting_since) * 1e9)
            self._summary.elapsed_ns = max(self._summary.elapsed_ns, elapsed_ns)
        if handle.node:
            handle.node.lost = handle.lost_because or "died"
            if self._counting_since:
                handle.node.last_report_s = handle.last_report_at - self._counting_since

    def _start_when_ready(self) -> None:
        if self._started_at or not all(handle.is_ready for handle in self._working):
            return
        self._started_at = time.monotonic()
        if not self._plan.warms_up:
            self._counting_since = self._started_at
        for handle in self._working:
            handle.note_report(self._started_at)
        self._send_all(worker.START)

    def _count_when_warm(self) -> None:
        """Start the clock of the run at the end of the warm-up."""
        if self._started_at is None or self._counting_since:
            return
        now = time.monotonic()
        if self._warmup.is_finished(now - self._started_at):
            self._counting_since = now
            self._summary.warmup_ns = round((now - self._started_at) * 1e9)
            self._summary.steady = self._warmup.steady
            self._send_all(worker.START_COUNTING)

    def _send_all(self, order: bytes) -> None:
        for handle in self._working:
            handle.send_order(order)

    def _kill_silent(self, now: float) -> None:
        """Kill workers that no longer report, so that they cannot delay the end of the run.

        `now` is the time of this wakeup and not a later one: if this process is suspended after
        it, the next turn sees that and excuses them. A suspended worker is excused in each turn and
        not only when its time is up: it may be resumed just before that turn, and needs a moment
        for its first report.
        """
        connecting_timeout_s = CONNECT_REPORT_TIMEOUT_S + self._plan.timeout_s
        limit_s = REPORT_TIMEOUT_S if self._started_at else connecting_timeout_s
        may_be_resumed = now < self._wait_for_stopped_until()
        for handle in self._working:
            awaits_start = handle.is_ready and not self._started_at
            silent_s = now - handle.silent_since
            if awaits_start or silent_s <= SILENCE_S:
                continue
            if may_be_resumed and handle.is_stopped():
                handle.silent_since = now  # resumed, it has the full time again
            elif silent_s > limit_s:
                handle.lost_because = f"did not report for {limit_s:.0f} s"
                handle.kill()

    def _wait_for_stopped_until(self) -> float:
        """Return until when a suspended worker is waited for, in monotonic seconds."""
        if self._summary.stopped_by or not self._started_at:
            return 0.0
        return (
            (self._counting_since or self._started_at)
            + (self._plan.duration_s or STOPPED_TIMEOUT_S)
            + REPORT_TIMEOUT_S
        )

    def _excuse_own_stall(self, now: float) -> None:
        """Do not count a time in which this process itself did not run as silence of the workers.

        What suspends and resumes a run (Ctrl-Z, a debugger, a frozen container) suspends its
        workers as well, and they have not had time to report yet.
        """
        before, self._last_wakeup = self._last_wakeup, now
        if now - before > WATCH_INTERVAL_S + STALL_S:
            for handle in self._working:
                handle.silent_since = max(handle.silent_since, now)
