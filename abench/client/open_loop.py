"""Connections that send when a schedule says so."""

import time

from abench.client.connection import Connection, Record
from abench.client.connection_pool import ConnectionPool
from abench.client.scheduler import LATE_US
from abench.stats.outcomes import OutcomeRecorder
from abench.stats.stages import StageRecorder

_clock = time.perf_counter_ns


class OpenLoop(Connection):
    """A connection that sends when a schedule says so."""

    __slots__ = (
        "_due_us",
        "_is_free",
        "_record_response_time",
    )

    def __init__(self, pool: ConnectionPool) -> None:
        super().__init__(pool)
        self._due_us = 0  # microseconds of the monotonic clock
        self._record_response_time: Record = pool.recorder.response.append
        if not pool.workload.only:
            self._record_response_time = self._record_in_parts
        self._is_free = False  # waits in the scheduler for a request

    def buffer_updated(self, nbytes: int) -> None:
        """Handle `nbytes` that the transport has read into the buffer."""
        expected = self._expected
        if self._is_excluded or not (
            self._awaits_first_byte
            and nbytes == expected.length
            and self._starts_with(expected.head)
        ):
            self._parse(nbytes)
            return
        now = _clock() // 1000
        elapsed = now - self.sent_at
        if elapsed > self._pool.limit_us:
            self._fail_late(elapsed)
            return
        self._record(elapsed)
        self._record_response_time(now - self._due_us)
        self._awaits_first_byte = False  # what comes while no request is in flight is no response
        self.sent_at = 0
        self.send_next()

    def send_next(self) -> None:
        """Wait for the next request that is due."""
        if self._pool.running and not self._is_free and self._pool.scheduler:
            self._is_free = True
            self._pool.scheduler.add_free(self)

    def start(self, due_us: int, now_us: int) -> None:
        """Send the request that was due."""
        self._is_free = False
        self._due_us, self.sent_at = due_us, now_us
        if not self._constant_request:
            self._next_request()
        if self._transport is None:
            self._pool.connector.connect(self)
        else:
            self._send()

    def waits_us(self, now_us: int) -> list[tuple[int, int]]:
        """Return (since its start, since it was due) in us for each counted request in flight."""
        return [(wait, now_us - self._due_us) for wait, _ in super().waits_us(now_us)]

    def _record_response(self, elapsed: int) -> None:
        self._record_response_time(self.sent_at + elapsed - self._due_us)

    def _record_in_parts(self, response_us: int) -> None:
        """Record a response time for the run and its parts."""
        self._pool.recorder.response.append(response_us)
        for part in self._parts:
            part.response.append(response_us)


class StagedOpenLoop(OpenLoop):
    """A connection that also records each request in the stage in which it was due."""

    __slots__ = ("_record_in_run", "_stage")

    def __init__(self, pool: ConnectionPool) -> None:
        super().__init__(pool)
        self._stage = StageRecorder()
        self._record_response_time = self._record_in_parts
        self._record_in_run = self._record_recognized
        self._record = self._record_recognized = self._record_in_stage

    def start(self, due_us: int, now_us: int) -> None:
        """Send the request that was due."""
        self._stage = stage = self._pool.stage_for(due_us)
        stage.started += 1
        stage.late += now_us - due_us > LATE_US
        super().start(due_us, now_us)

    @property
    def stage(self) -> StageRecorder | None:
        """The stage of the request in flight; None without one."""
        return self._stage if self.sent_at else None

    @property
    def _parts(self) -> tuple[OutcomeRecorder, ...]:
        """The parts of the run in which the request in flight counts as well."""
        return (*super()._parts, self._stage)

    def _record_in_stage(self, elapsed_us: int) -> None:
        """Count a recognized response for the run and the stage."""
        self._record_in_run(elapsed_us)
        self._stage.recognized(self._expected.status, self._expected.length, elapsed_us)
