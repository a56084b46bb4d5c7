"""A user's connection: a connection like any other, whose requests a coroutine makes."""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from abench.client.connection import STALE, Connection
from abench.client.response_parser import ResponseParser
from abench.client.scheduler import LATE_US
from abench.plan.success import SuccessCriteria
from abench.scenario import user as users
from abench.scenario.requests import UserRequest
from abench.scenario.response import RequestFailed, Response
from abench.stats.group_recorder import GroupRecorder
from abench.stats.outcomes import OutcomeRecorder
from abench.stats.stages import StageRecorder

if TYPE_CHECKING:
    from abench.scenario.user_pool import UserPool

_clock = time.perf_counter_ns


class WholeBodyParser(ResponseParser):
    """A parser that keeps the body, of one response at a time."""

    __slots__ = ("_parts",)

    def _reset_response(self) -> None:
        super()._reset_response()
        self._parts: list[bytes] = []

    def on_body(self, data: bytes) -> None:
        """Keep a part of the body (called by httptools)."""
        self._parts.append(data)

    @property
    def head(self) -> bytes:
        """The head of the response, without its blank line."""
        return self._head

    def body(self) -> bytes:
        """Return the body of the response."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    def failure_kind(self, expectation: SuccessCriteria) -> str:
        """Return how the response just completed failed: by its "status" or its "body", or ""."""
        found = super().failure_kind(expectation)
        lacks_text = expectation.text and expectation.text not in self.body()
        return found or ("body" if lacks_text else "")


class UserConnection(Connection):
    """One user: takes paths one after the other, and has at most one request in flight.

    In a closed loop the next path begins when one has ended, with a schedule when it is due. What
    is due is a path: of each of its requests, the response time counts from as long before it was
    sent as the path was late. A user who had begun in time would have sent it then.
    """

    _pool: "UserPool"
    _parser: WholeBodyParser

    __slots__ = (
        "_began_us",
        "_counted_in",
        "_due_us",
        "_failure",
        "_is_free",
        "_is_path_excluded",
        "_made",
        "_reply",
        "_stage",
        "_step",
        "_task",
        "_thought_us",
        "user",
    )

    def __init__(self, pool: "UserPool") -> None:
        super().__init__(pool)
        self._parser = WholeBodyParser()
        self.user = users.User(pool.next_number(), self, pool.share)
        self._task: asyncio.Task[None] | None = None  # takes a path
        self._made: UserRequest  # the last request
        self._reply: asyncio.Future[Response] | None = None  # awaited by the path
        self._counted_in: tuple[OutcomeRecorder, ...] = ()  # parts of the run
        self._failure = ""  # of a request, until its connection has gone
        self._stage: StageRecorder | None = None
        self._step: GroupRecorder | None = None  # of the last request
        self._is_free = False  # waits in the scheduler for a path
        self._is_path_excluded = False  # the path is not counted
        self._began_us = self._due_us = self._thought_us = 0

    def groups_in_flight(self) -> list[GroupRecorder | None]:
        """Return the step of the request in flight."""
        return [self._step]

    # Paths.

    def send_next(self) -> None:
        """Begin a path if one remains, or go on with one after a failure.

        It is called whenever the connection has gone, too.
        """
        if self._task:
            self._deliver_failure()
            return
        pool = self._pool
        if not pool.running or self._is_free:
            return
        if pool.scheduler:
            self._is_free = True
            pool.scheduler.add_free(self)
        elif pool.remaining:
            pool.remaining -= 1
            now_us = _clock() // 1000
            self.start(now_us, now_us)
        else:
            self.finish()

    def start(self, due_us: int, now_us: int) -> None:
        """Begin the path that was due."""
        self._is_free = False
        self._due_us, self._began_us, self._thought_us = due_us, now_us, 0
        self._is_path_excluded = False
        if self._pool.plan.stages:
            self._stage = stage = self._pool.stage_for(due_us)
            stage.started += 1
            stage.late += now_us - due_us > LATE_US
        self._task = self._pool.loop.create_task(self._take_path())

    async def _take_path(self) -> None:
        pool, user = self._pool, self.user
        users.recorder.set(pool.counts)
        user.iteration += 1
        try:
            await pool.next_path()(user)
        except RequestFailed:
            self._end_path(pool.counts.failed)
        # It costs this path, and no more: what it awaited may have been cancelled, too.
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if not pool.running:  # this task itself was cancelled
                raise
            self._end_path(pool.counts.raised, pool.place_of(error), error)
        else:
            took_us = _clock() // 1000 - self._due_us - self._thought_us
            self._end_path(pool.counts.completed, took_us)

    def _end_path(self, count: Callable[..., None], *outcome: object) -> None:
        if not self._is_path_excluded:
            count(*outcome)
        self._task = None
        self.send_next()

    @property
    def stage(self) -> StageRecorder | None:
        """The stage of the path of the request in flight; None without one."""
        return self._stage if self.sent_at else None

    @property
    def is_on_path(self) -> bool:
        """Whether a path is under way that counts."""
        return self._task is not None and not self._is_path_excluded

    def exclude_in_flight(self) -> None:
        """Exclude the request in flight from the counts, and the path."""
        super().exclude_in_flight()
        self._is_path_excluded = self._task is not None

    def waits_us(self, now_us: int) -> list[tuple[int, int]]:
        """Return (since its start, since it was due) in us for each counted request in flight."""
        late_us = self._began_us - self._due_us
        return [(wait, wait + late_us) for wait, _ in super().waits_us(now_us)]

    def abort(self) -> int:
        """Close for good; return how many counted requests were in flight."""
        if self._task:
            self._task.cancel()
        return super().abort()

    # What a path asks for.

    async def exchange(self, request: UserRequest) -> Response:
        """Send a request, and return its response; raises RequestFailed without one."""
        if self._reply:
            raise RuntimeError("a user makes one request at a time: await the one before it")
        pool = self._pool
        if not pool.running:
            raise asyncio.CancelledError
        self._made, self._request, self._expected = request, request.data, request.expected
        self._step = step = pool.counts.step(request.step)
        self._counted_in = (step, self._stage) if self._stage else (step,)
        self._parser.is_head_request = request.expected.is_head_request
        reply: asyncio.Future[Response] = pool.loop.create_future()
        self._reply, self._failure = reply, ""
        self.sent_at = _clock() // 1000
        if self._transport is not None:
            if not self._is_closing:  # else connection_lost connects
                self._send()
        elif not self.cancel_connect:  # else connection_made sends
            pool.connector.connect(self)
        try:
            return await reply
        finally:
            self._reply = None
            if self.sent_at and pool.running:
                self._fail("timeout", "the scenario did not wait for the response")

    async def pause(self, seconds: float) -> None:
        """Send nothing for a while, which counts for no figure."""
        began_us = _clock() // 1000
        await asyncio.sleep(seconds)
        self._thought_us += _clock() // 1000 - began_us

    # What becomes of a request.

    def buffer_updated(self, nbytes: int) -> None:
        """Handle `nbytes` that the transport has read into the buffer: bodies may differ."""
        self._parse(nbytes)

    def _response_complete(self, length: int = 0) -> None:
        pool, parser = self._pool, self._parser
        elapsed = _clock() // 1000 - self.sent_at
        if elapsed > pool.limit_us:
            self._fail_late(elapsed)
            return
        if self._is_excluded:
            self._record_excluded()
        else:
            self._record_parsed(elapsed, length)
        if parser.status >= 300:
            self._record_redirect()
        self.sent_at = 0
        if not (parser.keep_alive and pool.keep_alive):
            self._close()
        if self._reply and not self._reply.done():
            self._reply.set_result(
                Response(parser.status, parser.head, parser.body(), elapsed / 1e6)
            )

    @property
    def _parts(self) -> tuple[OutcomeRecorder, ...]:
        """The parts of the run in which the request in flight counts as well."""
        return self._counted_in

    def _record_response(self, elapsed: int) -> None:
        if self._pool.scheduler:
            response_us = elapsed + self._began_us - self._due_us
            for recorder in (self._pool.recorder, *self._parts):
                recorder.response.append(response_us)

    def _retry(self) -> None:
        self._awaits_first_byte = False
        if self._made.is_idempotent:
            self._pool.recorder.retried += 1
            self._pool.connector.connect(self)
        else:
            self._fail("stale", STALE, self._made.method)
            self.send_next()

    def _fail(self, kind: str, *detail: object) -> None:
        """Fail the request in flight; its path goes on once the connection has gone."""
        super()._fail(kind, *detail)
        self._failure = kind

    def _deliver_failure(self) -> None:
        """Have the path go on after a failure, if there was one."""
        kind, self._failure = self._failure, ""
        if kind and self._reply and not self._reply.done():
            self._reply.set_exception(RequestFailed(kind))
