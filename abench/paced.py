"""Connections that ask when a schedule says so."""

import time

from abench.client import Connection, Pool
from abench.dispatch import LATE_US
from abench.stages import StageNotes

_clock = time.perf_counter_ns


class Paced(Connection):
    """A connection that asks when a schedule says so."""

    __slots__ = ("_due", "_note_response", "_waits")

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self._due = 0  # microseconds of the monotonic clock
        self._note_response = pool.recorder.response.append
        self._waits = False  # to be given a request

    def buffer_updated(self, nbytes: int) -> None:
        """Take a piece of a reply from the transport."""
        answer = self._answer
        if self._warming or not (
            self._fresh and nbytes == answer.length and self._begins(answer.head)
        ):
            self._read(nbytes)
            return
        now = _clock() // 1000
        took = now - self.asked_at
        if took > self._pool.limit_us:
            self._fail_late(took)
            return
        self._note(took)
        self._note_response(now - self._due)
        self._fresh = False  # what comes while nothing is asked is no response
        self.asked_at = 0
        self.ask()

    def ask(self) -> None:
        """Be free for what is due."""
        if self._pool.running and not self._waits and self._pool.dispatcher:
            self._waits = True
            self._pool.dispatcher.take(self)

    def start(self, due_us: int, now_us: int) -> None:
        """Ask what was due."""
        self._waits = False
        self._due, self.asked_at = due_us, now_us
        if not self._constant:
            self._turn()
        if self._transport is None:
            self._pool.dialer.dial(self)
        else:
            self._send()

    def waits_us(self, now_us: int) -> list[tuple[int, int]]:
        """Return for each request under way that counts how long it is: from its start, and due."""
        return [(wait, now_us - self._due) for wait, _ in super().waits_us(now_us)]

    def _respond(self, took: int) -> None:
        self._note_response(self.asked_at + took - self._due)


class Staged(Paced):
    """A connection that also takes note of each request by the stage that it was due in."""

    __slots__ = ("_stage",)

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self._stage = StageNotes()
        self._note_response = self._note_both

    def start(self, due_us: int, now_us: int) -> None:
        """Ask what was due."""
        self._stage = stage = self._pool.stage_at(due_us)
        stage.started += 1
        stage.late += now_us - due_us > LATE_US
        super().start(due_us, now_us)

    @property
    def stage(self) -> StageNotes | None:
        """The stage that the request under way is of; None without one."""
        return self._stage if self.asked_at else None

    def _note_both(self, response_us: int) -> None:
        """Take note of a response time; the request's start is still known."""
        self._pool.recorder.response.append(response_us)
        self._stage.response.note(response_us)
        self._stage.service.note(response_us - (self.asked_at - self._due))
