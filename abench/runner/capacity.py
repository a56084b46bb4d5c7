"""Runs the steps of a search for a server's capacity: short runs, each at one rate."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from abench.errors import UnreachableError
from abench.plan.plan import Plan
from abench.stats.capacity import Capacity, Objective, Step
from abench.stats.capacity_search import CapacitySearch
from abench.stats.results import Results

PROBE_S = 2.0
_LEAST_SHARE, _MOST_SHARE = 1 / 200, 4
"""Where the search begins and ends, as shares of what a closed loop reaches: with more connections
than its own, a server may do more."""
_LEAST_RATE = 1.0
_WARMUP_SHARE = 0.2  # of a step: what the step before has left in queues is served meanwhile
_LONGEST_STEP_S = 60.0
_FEW, _MANY = 64, 4_096
_SPARE = 1.5
"""Connections, as a multiple of the requests that are under way if each takes as long as it may."""

Run = Callable[[Plan], Results]
Watch = Callable[[Step, CapacitySearch], None]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a search may take. limit_s: seconds in total; None for connections chooses them."""

    step_s: float = 5.0
    limit_s: float = 120.0
    tolerance: float = 0.05
    connections: int | None = None


def find_capacity(  # noqa: PLR0913, PLR0917 - each can be another one in tests
    plan: Plan,
    objectives: Sequence[Objective],
    bounds: Bounds,
    run: Run,
    watch: Watch = lambda _step, _search: None,
    clock: Callable[[], float] = time.monotonic,
) -> Capacity:
    """Search for the highest rate at which all objectives hold.

    run carries out a plan; watch is told of each step. Stops early, with what is known, when a run
    is interrupted or time is over. Raises UnreachableError if there is no server.
    """
    end = clock() + bounds.limit_s
    closed = run(_closed_loop(plan, bounds))
    if not closed.succeeded:
        raise UnreachableError(plan.target.host, plan.target.port, "no request succeeded")
    top = _MOST_SHARE * closed.pages_per_sec
    bottom = max(_LEAST_RATE, _LEAST_SHARE * closed.pages_per_sec)
    search = CapacitySearch(bottom, max(top, 2 * bottom), tolerance=bounds.tolerance)
    steps: list[Step] = []
    stopped_by = closed.stopped_by
    connections = bounds.connections or _needed_connections(closed.pages_per_sec, objectives)
    while not (stopped_by or search.is_over):
        at_rate = _step_plan(plan, search.next_rate(), connections, objectives, bounds)
        if clock() + (at_rate.duration_s or 0) + at_rate.warmup_s > end:
            break
        report = run(at_rate)
        stopped_by = report.stopped_by
        if stopped_by:
            break
        steps.append(Step.of(report, objectives))
        search.add(steps[-1].offered, held=steps[-1].held)
        watch(steps[-1], search)
    return Capacity(
        url=plan.target.url,
        objectives=tuple(one.condition.text for one in objectives),
        interval=search.interval(),
        steps=tuple(steps),
        closed_loop_per_sec=closed.pages_per_sec,
        is_complete=search.is_over,
        stopped_by=stopped_by,
        reaches_top=search.reaches_top,
        reaches_bottom=search.reaches_bottom,
    )


def _closed_loop(plan: Plan, bounds: Bounds) -> Plan:
    """Return a short run that shows how far a search has to go."""
    return replace(
        plan, rate=None, duration_s=PROBE_S, warmup_s=0.0, connections=bounds.connections or _FEW
    )


def _needed_connections(rate: float, objectives: Sequence[Objective]) -> int:
    """Return how many connections are needed for a rate, by Little's law."""
    slowest_s = min((one.limit_s for one in objectives if one.limit_s), default=1.0)
    return round(min(max(_FEW, _SPARE * rate * slowest_s), _MANY))


def _step_plan(
    plan: Plan, rate: float, connections: int, objectives: Sequence[Objective], bounds: Bounds
) -> Plan:
    """Return a run at a rate, long enough for the percentiles of the objectives."""
    needed_s = max(one.needed_requests for one in objectives) / rate
    step_s = min(max(bounds.step_s, needed_s), _LONGEST_STEP_S)
    return replace(
        plan,
        rate=rate,
        arrivals=plan.arrivals,
        duration_s=step_s,
        warmup_s=_WARMUP_SHARE * step_s,
        connections=connections,
    )
