"""The cost of a scenario's request in calls: a figure that no other program can disturb."""

import asyncio
import sys
from pathlib import Path

import abench
from abench.plan.plan import Plan
from abench.plan.scenario_file import ScenarioFile
from abench.scenario.loading import load
from abench.scenario.user_pool import UserPool
from tests.abench.test_cost import RESPONSE, URL, FakeTransport

SCENARIO = ScenarioFile(
    "shop.py",
    b"""
from abench import User, check

async def visit(user: User) -> None:
    for _ in range(10):
        response = await user.get("/")
        check("it is there", response.status == 200)
""",
)


class RespondingTransport(FakeTransport):
    """A transport that answers each write in the next turn of the loop."""

    def write(self, data):
        asyncio.get_running_loop().call_soon(self.respond)

    def respond(self):
        pool = self.pool
        pool.view[: len(RESPONSE)] = RESPONSE
        pool.connections[0].buffer_updated(len(RESPONSE))


def take_paths(number):
    """Have one user take this many paths, in a loop of its own."""

    async def take():
        drained = asyncio.Event()
        plan = Plan(url=URL, connections=1, requests=number, scenario=SCENARIO)
        transport = RespondingTransport()
        transport.pool = pool = UserPool(plan, load(SCENARIO), transport, drained.set)
        pool.start_counting()
        pool.start()
        await drained.wait()
        assert pool.take_summary(0).succeeded == 10 * number

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(take())


def calls_of_abench(work):
    """Return how many functions of abench work() calls: those of the loop depend on Python."""
    package = f"{Path(abench.__file__).parent}/"
    calls = 0

    def count(frame, event, _argument):
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename.startswith(package)

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def test_a_request_and_its_check_cost_few_calls():
    """A coroutine that goes on counts as a call: three do for each response."""
    take_paths(1)
    few, many = (calls_of_abench(lambda number=number: take_paths(number)) for number in (1, 11))
    assert (many - few) / 100 <= 46
