"""What the users of one process share."""

import asyncio
import itertools
from collections.abc import Callable, Iterator

from abench.client.connection_pool import ConnectionPool
from abench.client.connector import Connector
from abench.client.response_parser import ResponseParser
from abench.plan.interleave import interleave
from abench.plan.plan import Plan
from abench.plan.workload import ExpectedResponse
from abench.scenario.loading import Path, Scenario
from abench.scenario.requests import RequestFactory
from abench.scenario.user import Share
from abench.scenario.user_connection import UserConnection
from abench.stats.groups import GroupStats
from abench.stats.scenario_counts import ScenarioRecorder
from abench.stats.summary import Summary


class UserPool(ConnectionPool):
    """The users of one process: connections, whose requests a scenario makes.

    `counts` has what is counted for the scenario; `share` what all users of the process share.
    """

    connections: list[UserConnection]  # type: ignore[assignment]

    def __init__(
        self,
        plan: Plan,
        scenario: Scenario,
        connector: Connector,
        on_drained: Callable[[], None],
        connection_class: type[UserConnection] = UserConnection,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.counts = self._new_counts()
        target = plan.target
        self.share = Share(RequestFactory(plan), target.host, secure=target.tls)
        self.share.part, self.share.parts = plan.part, plan.parts
        self._scenario = scenario
        self.place_of = scenario.place_of
        self._numbers = itertools.count(plan.part + 1, plan.parts)
        self._paths = _in_turn(scenario.paths, plan.part, plan.parts)
        super().__init__(plan, connection_class, connector, on_drained)

    def _new_counts(self) -> ScenarioRecorder:
        return ScenarioRecorder()

    def next_number(self) -> int:
        """Return the number of another user: those of all processes differ."""
        return next(self._numbers)

    def next_path(self) -> Path:
        """Return the path that is to be taken next, by any user."""
        return next(self._paths)

    @property
    def is_waiting(self) -> bool:
        """Whether a response or a connection is awaited: users may all be thinking."""
        return self._paused > 0 or any(one.sent_at for one in self.connections)

    def takes_error(self, error: BaseException) -> bool:
        """Count an error that a task of the scenario has raised, and that no one awaited."""
        if not self._scenario.is_source_of(error):
            return False
        self.counts.exception(self.place_of(error), error)
        return True

    def start_counting(self) -> Summary:
        """Count from here on; return what was counted before, the warm-up."""
        before = super().start_counting()
        before.scenario = self.counts.take()
        return before

    def take_summary(self, at_s: int) -> Summary:
        """Return and reset what was counted since the last call, as of the second `at_s`."""
        taken = super().take_summary(at_s)
        taken.scenario = self.counts.take()
        return taken

    def record_waits(self, summary: Summary, now_us: int) -> None:
        """Record what is under way, before it is stopped."""
        super().record_waits(summary, now_us)
        counted = summary.scenario
        counted.unfinished = sum(one.is_on_path for one in self.connections)
        waits: dict[str, list[tuple[int, int]]] = {}
        for each in self.connections:
            for step, wait in zip(each.groups_in_flight(), each.waits_us(now_us), strict=False):
                if step:
                    waits.setdefault(self.counts.name_of(step), []).append(wait)
        for name, found in waits.items():
            counted.steps.setdefault(name, GroupStats()).record_waits(found)

    def learn_response(
        self, parser: ResponseParser, expected: ExpectedResponse, length: int
    ) -> None:
        """Remember nothing: each response is parsed, since a scenario wants all of it."""


def _in_turn(paths: dict[Path, int], part: int, parts: int) -> Iterator[Path]:
    """Return paths as often as their weights say; processes start at different places."""
    listed, order = list(paths), interleave(list(paths.values()))
    start = len(order) * part // parts
    turns = itertools.cycle((order[start:], order[:start]))
    return map(listed.__getitem__, itertools.chain.from_iterable(turns))
