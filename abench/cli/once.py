"""`abench run --once`: one user takes each path of a scenario once, in this process."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from abench.cli.exit_codes import FAILED, OK, UNREACHABLE
from abench.client.connector import Connector
from abench.plan.plan import Plan
from abench.runner import preflight
from abench.runner.worker import new_event_loop
from abench.scenario.loading import Path, Scenario
from abench.scenario.requests import UserRequest
from abench.scenario.response import RequestFailed, Response
from abench.scenario.user_connection import UserConnection
from abench.scenario.user_pool import UserPool
from abench.stats.samples import format_message
from abench.stats.scenario_counts import ScenarioCounts, ScenarioRecorder, describe_exception
from abench.stats.summary import Summary
from abench.stats.units import byte_size, microseconds, plural

Say = Callable[[str], object]


def take_paths_once(scenario: Scenario, plan: Plan, *, verbose: bool) -> int:
    """Take each path once, print what happened, and return the exit code.

    Nothing is forked and no time is measured: `breakpoint()` works, and so does `print`.
    """
    one = replace(
        preflight.resolve(plan), connections=1, requests=len(scenario.paths), duration_s=None,
        workers=1, rate=None, stages=None, arrivals="constant", warmup_s=0.0, warmup_auto=False,
    )  # fmt: skip
    # Each path comes once, whatever its weight is.
    equal = replace(scenario, paths=dict.fromkeys(scenario.paths, 1))
    say: Say = print if verbose else lambda _: None
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        summary = runner.run(_take_paths(equal, one, say))
    return _report(summary)


async def _take_paths(scenario: Scenario, plan: Plan, say: Say) -> Summary:
    drained = asyncio.Event()
    pool = NarratedPool(plan, scenario, Connector(plan), drained.set, NarratedConnection)
    pool.say = pool.counts.say = say
    pool.loop.set_exception_handler(partial(_on_loop_error, pool))
    pool.start_counting()
    pool.start()
    expire = asyncio.create_task(_expire_overdue(pool))
    try:
        await drained.wait()
        return pool.take_summary(0)
    finally:
        expire.cancel()
        pool.stop()


def _on_loop_error(
    pool: UserPool, loop: asyncio.AbstractEventLoop, context: dict[str, Any]
) -> None:
    """Count what a task of the scenario has raised, and no one awaited."""
    error = context.get("exception")
    if not (isinstance(error, Exception) and pool.takes_error(error)):
        loop.default_exception_handler(context)


async def _expire_overdue(pool: UserPool) -> None:
    while True:
        await asyncio.sleep(0.1)
        pool.expire_overdue()


class NarratingRecorder(ScenarioRecorder):
    """Counts, and says what it counts."""

    say: Say

    def check(self, name: str, *, passed: bool) -> None:
        """Count a check."""
        super().check(name, passed=passed)
        self.say(f"  check {'passed' if passed else 'FAILED'}: {name}")

    def exception(self, place: str, error: BaseException) -> None:
        """Count an exception, which came from `place`."""
        super().exception(place, error)
        self.say(f"  {place}: {describe_exception(error)}")


class NarratedPool(UserPool):
    """Says which path is taken."""

    say: Say
    counts: NarratingRecorder

    def _new_counts(self) -> NarratingRecorder:
        return NarratingRecorder()

    def next_path(self) -> Path:
        """Return the path that is to be taken next, and say which one it is."""
        path = super().next_path()
        self.say(getattr(path, "__name__", ""))
        return path


class NarratedConnection(UserConnection):
    """A user who says what it does, and does not think."""

    _pool: NarratedPool

    __slots__ = ()

    async def exchange(self, request: UserRequest) -> Response:
        """Send a request, and say what came."""
        asked, say = f"  {request.method} {request.resource}", self._pool.say
        try:
            response = await super().exchange(request)
        except RequestFailed as error:
            say(f"{asked}  {error}")
            raise
        took = microseconds(round(response.elapsed_s * 1e6))
        say(f"{asked}  {response.status}  {byte_size(len(response.body))}  {took}")
        if response.status not in request.expected.expectation.statuses:
            say(f"    not expected; its body: {format_message((response.body,))}")
        return response

    async def pause(self, seconds: float) -> None:
        """Say for how long a user would think."""
        self._pool.say(f"  thinks for {seconds:.2f} s, which is not waited for")


def _report(summary: Summary) -> int:
    """Print the outcome; return the exit code."""
    counted = summary.scenario
    sent = summary.succeeded + summary.failed
    failed = f", {summary.failed} of them failed" if summary.failed else ""
    print(f"{plural(counted.ended, 'path')} taken, {plural(sent, 'request')}{failed}")
    for line in _complaints(counted, summary):
        print(line)
    if not summary.succeeded:
        return UNREACHABLE
    return FAILED if any(_complaints(counted, summary)) else OK


def _complaints(counted: ScenarioCounts, summary: Summary) -> list[str]:
    """Return a line for each thing that is not as it should be."""
    lines = [f"{one.kind} {one.detail}: {one.message}" for one in summary.samples
             if summary.failures[one.kind]]  # fmt: skip
    lines += [f"check failed: {name}" for name, one in counted.checks.items() if one.failed]
    lines += [f"{place}: {one.message}" for place, one in counted.exceptions.items()]
    return lines
