"""Runs the steps of a search for a server's capacity: short runs, each at one rate."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from abench.errors import UnreachableError
from abench.plan.plan import Plan
from abench.runner.null_server import null_server
from abench.stats.capacity import Capacity, End, Step
from abench.stats.capacity_search import CapacitySearch
from abench.stats.objective import Objective
from abench.stats.results import Results
from abench.stats.scaling import Point

PROBE_S = 2.0
_PROBE_CONNECTIONS = 64
_LEAST_SHARE, _MOST_SHARE = 1 / 100, 4
"""Where the search begins and ends, as shares of what a closed loop reaches: with more connections
than its own, a server may do more."""
_SURVEY = (0.25, 0.5, 0.75)
"""The first steps, by the same measure: the lower part of the curve, and where it is sure to hold.
The rest of the search is near the limit."""
_EXPECTED = 0.8
_WARMUP_SHARE = 0.2  # of a step: what the step before has left in queues is served meanwhile
_LONGEST_SHARE = 0.1  # of the time of the search: with fewer steps than ten, it learns too little
_LEAST_REQUESTS = 20
_AT_BOUND = 3  # steps at the lowest or the highest rate: if all end alike, the limit is beyond it
_NEAR_BOUND = 1.1
_MOST_CONNECTIONS = 2_000
_SPARE = 1.5
"""Connections, as a multiple of the requests that are under way if each takes as long as it may."""
_ATTEMPTS, _PAUSE_S = 3, 1.0
"""To reach a server that was just overloaded."""

Run = Callable[[Plan], Results]
Watch = Callable[[Step, CapacitySearch], object]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a search may take.

    step_s: the least length of a step. limit_s: seconds in total. tolerance: the share by which
    the result may be wrong. connections: None chooses them. highest: no rate above is tried.
    """

    step_s: float = 5.0
    limit_s: float = 120.0
    tolerance: float = 0.05
    connections: int | None = None
    highest: float | None = None


class Tools(NamedTuple):
    """What a search uses of the world, each of which a test can replace.

    watch is told of each step, and watch_point of each closed loop of find_scaling; stopped_by
    returns the number of the signal that has come, or None.
    """

    watch: Watch = lambda _step, _search: None
    stopped_by: Callable[[], int | None] = lambda: None
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], object] = time.sleep
    watch_point: Callable[[Point], object] = lambda _point: None


class Ending(NamedTuple):
    """Why no further step is made."""

    end: End
    stopped_by: int | None = None
    problem: str = ""


def attempt(plan: Plan, run: Run, tools: Tools, end_at: float) -> Results | Ending:
    """Carry out a step, or return why none is made any more.

    A server that was overloaded has a few seconds to accept again. `end_at` is when time is over,
    by the clock of the tools.
    """
    if number := tools.stopped_by():
        return Ending(End.SIGNAL, number)
    if tools.clock() + (plan.duration_s or 0.0) + plan.warmup_s > end_at:
        return Ending(End.TIME)
    try:
        report = _reach(plan, run, tools)
    except UnreachableError as error:
        return Ending(End.UNREACHABLE, problem=str(error))
    if report.stopped_by:
        return Ending(End.SIGNAL, report.stopped_by)
    problem = _fault(report)
    return Ending(End.FAULT, problem=problem) if problem else report


def _reach(plan: Plan, run: Run, tools: Tools) -> Results:
    for _ in range(_ATTEMPTS - 1):
        try:
            return run(plan)
        except UnreachableError:
            tools.pause(_PAUSE_S)
    return run(plan)


def _fault(report: Results) -> str:
    """Return what went wrong in abench itself, "" if nothing did."""
    if report.lost_workers:
        return f"{report.lost_workers} of its workers died"
    return "; ".join(report.faults)


def client_run(plan: Plan, run: Run) -> Results:
    """Run a closed loop with a server that does nothing: how much this client can do."""
    with null_server() as server:
        return run(
            Plan(
                url=server.url,
                connections=_PROBE_CONNECTIONS,
                duration_s=PROBE_S,
                workers=plan.workers,
                keep_alive=plan.keep_alive,
            )
        )


def find_capacity(  # noqa: PLR0913, PLR0917 - the last three are for some callers
    plan: Plan,
    objectives: Sequence[Objective],
    run: Run,
    bounds: Bounds = Bounds(),
    tools: Tools = Tools(),  # noqa: B008
    client_per_sec: float | None = None,
) -> Capacity:
    """Search for the highest rate at which all objectives hold.

    `run` carries out a plan, here or on other machines. Of `plan`, its rate, length and number of
    connections are replaced, and its warm-up if it has none. client_per_sec: what this client
    reaches with a server that does nothing, if it is known. The search ends early, with what is
    known, when a run is interrupted, time is over, or the server no longer accepts connections.
    Raises UnreachableError if no request succeeds before the first step.
    """
    end_at = tools.clock() + bounds.limit_s
    found = Capacity(
        url=plan.target.url,
        objectives=tuple(one.text for one in objectives),
        arrivals=plan.arrivals,
        limit_s=bounds.limit_s,
        client_per_sec=client_per_sec,
    )
    if number := tools.stopped_by():
        return replace(found, end=End.SIGNAL, stopped_by=number)
    closed = run(_closed_loop(plan, bounds))
    if closed.stopped_by:
        return replace(found, end=End.SIGNAL, stopped_by=closed.stopped_by)
    if not closed.succeeded:
        raise UnreachableError(plan.target.host, plan.target.port, "no request succeeded")
    reached = closed.pages_per_sec
    found = replace(found, closed_loop_per_sec=reached, bounds=_range(reached, bounds))
    return _Steps(plan, objectives, run, bounds, tools).search(found, reached, end_at)


def _closed_loop(plan: Plan, bounds: Bounds) -> Plan:
    """Return a short run that shows how far a search has to go."""
    return replace(
        plan,
        rate=None,
        arrivals="constant",
        duration_s=PROBE_S,
        warmup_s=0.0,
        warmup_auto=False,
        connections=bounds.connections or _PROBE_CONNECTIONS,
    )


def _range(reached: float, bounds: Bounds) -> tuple[float, float]:
    """Return the lowest and the highest rate of a search."""
    countable = _LEAST_REQUESTS / (_LONGEST_SHARE * bounds.limit_s)
    lowest = min(max(_LEAST_SHARE * reached, countable), reached / 2)
    highest = bounds.highest or _MOST_SHARE * reached
    return min(lowest, highest / 2), highest


class _Steps:
    """Makes the steps of one search."""

    def __init__(
        self,
        plan: Plan,
        objectives: Sequence[Objective],
        run: Run,
        bounds: Bounds,
        tools: Tools,
    ) -> None:
        self._plan, self._objectives = plan, objectives
        self._run, self._bounds, self._tools = run, bounds, tools
        self._steps: list[Step] = []

    def search(self, found: Capacity, reached: float, end_at: float) -> Capacity:
        """Make steps until the end, and return what is known then."""
        search = CapacitySearch(
            *found.bounds,
            expected=min(_EXPECTED * reached, found.bounds[1]),
            tolerance=self._bounds.tolerance,
        )
        connections = self._bounds.connections or self._needed_connections(reached)
        for rate in self._rates(found.bounds, search, reached):
            if ending := self._step(self._step_plan(rate, connections), search, end_at):
                break
        else:
            ending = Ending(End.SURE if search.is_sure else End.BOUND)
        return replace(
            found,
            interval=search.interval if self._steps else None,
            steps=tuple(self._steps),
            end=ending.end,
            stopped_by=ending.stopped_by,
            problem=ending.problem,
        )

    def _step(self, plan: Plan, search: CapacitySearch, end_at: float) -> Ending | None:
        """Make a step and note it; return why no further one is made instead, if there is a reason.

        A step that was interrupted is not counted.
        """
        report = attempt(plan, self._run, self._tools, end_at)
        if isinstance(report, Ending):
            return report
        step = Step.of(report, self._objectives)
        self._steps.append(step)
        search.add(step.offered, step.beyond, step.allowed)
        self._tools.watch(step, search)
        return None

    def _rates(
        self, bounds: tuple[float, float], search: CapacitySearch, reached: float
    ) -> Iterator[float]:
        """Yield the rate of each step, the next one by what is known of those before."""
        lowest, highest = bounds
        for share in _SURVEY:
            if share * reached < highest and all(step.held for step in self._steps):
                yield share * reached
        for _ in range(_AT_BOUND):
            if not self._any_held():
                yield lowest
        while self._any_held() and not search.is_over:
            rate = search.next_rate
            if rate < highest / _NEAR_BOUND:
                yield rate
            elif self._tried(highest) < _AT_BOUND or not all(step.held for step in self._steps):
                yield highest
            else:
                return

    def _any_held(self) -> bool:
        return any(step.held for step in self._steps)

    def _tried(self, rate: float) -> int:
        """Return how many steps were made at a rate; random arrivals are a few more, or less."""
        return sum(1 / _NEAR_BOUND < step.offered / rate < _NEAR_BOUND for step in self._steps)

    def _needed_connections(self, rate: float) -> int:
        """Return how many connections are needed for a rate, by Little's law."""
        slowest_s = min((one.limit_s for one in self._objectives if one.limit_s), default=1.0)
        needed = round(_SPARE * rate * slowest_s)
        return min(max(_PROBE_CONNECTIONS, needed), _MOST_CONNECTIONS)

    def _step_plan(self, rate: float, connections: int) -> Plan:
        """Return a run at a rate, long enough for the objectives if time allows.

        A queue that gets 5 % more than it can take needs twenty times the limit to grow that long.
        """
        needed_s = max(one.needed_requests for one in self._objectives) / rate
        growing_s = max(one.limit_s or 0.0 for one in self._objectives) / self._bounds.tolerance
        longest_s = _LONGEST_SHARE * self._bounds.limit_s
        step_s = max(self._bounds.step_s, min(max(needed_s, growing_s), longest_s))
        plan = self._plan
        warmup_s = 0.0 if plan.warmup_auto else plan.warmup_s or _WARMUP_SHARE * step_s
        return replace(
            plan,
            rate=rate,
            seed=plan.seed + len(self._steps) + 1,  # chance would repeat itself otherwise
            duration_s=step_s,
            warmup_s=warmup_s,
            connections=connections,
        )
