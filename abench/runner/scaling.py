"""Runs closed loops with more and more connections, to see how the rate of a server grows."""

from collections.abc import Sequence
from dataclasses import replace

from abench.errors import UnreachableError
from abench.plan.plan import Plan
from abench.runner.capacity import Bounds, Ending, Run, Tools, attempt
from abench.stats.capacity import End
from abench.stats.objective import Objective
from abench.stats.scaling import Point, Scaling

MOST_CONNECTIONS = 256
_ROUNDS = 3
"""Each of them in the other direction than the one before: a server that slows down in time does
not look like one that slows down with connections."""
_WARMUP_SHARE = 0.2
_OVERHEAD_S = 0.3  # of a run, to start its processes and end them
_LEAST_S = 0.1


def find_scaling(  # noqa: PLR0913, PLR0917 - as find_capacity
    plan: Plan,
    objectives: Sequence[Objective],
    run: Run,
    bounds: Bounds,
    tools: Tools,
    client_per_sec: float | None = None,
) -> Scaling:
    """Measure closed loops with 1, 2, 4 ... connections, up to those of the bounds.

    Each number is measured three times, for as long as the time of the search allows; it ends
    early as find_capacity does. Raises UnreachableError if no request of the first run succeeds.
    """
    end_at = tools.clock() + bounds.limit_s
    numbers = _numbers(bounds.connections or MOST_CONNECTIONS)
    order = [n for turn in range(_ROUNDS) for n in (numbers if turn % 2 == 0 else numbers[::-1])]
    points: list[Point] = []
    ending = Ending(End.SURE)
    for made, number in enumerate(order):
        whole_s = (end_at - tools.clock()) / (len(order) - made) - _OVERHEAD_S
        report = attempt(_closed_loop(plan, number, whole_s), run, tools, end_at)
        if isinstance(report, Ending):
            ending = report
            break
        if not points and not report.succeeded:
            raise UnreachableError(plan.target.host, plan.target.port, "no request succeeded")
        points.append(Point.of(report, objectives))
        tools.watch_point(points[-1])
    return Scaling(
        url=plan.target.url,
        objectives=tuple(one.text for one in objectives),
        limit_s=bounds.limit_s,
        points=tuple(points),
        client_per_sec=client_per_sec,
        end=ending.end,
        stopped_by=ending.stopped_by,
        problem=ending.problem,
    )


def _numbers(most: int) -> list[int]:
    """Return the numbers of connections: powers of 2, and the most of them."""
    return [*(2**power for power in range(most.bit_length()) if 2**power < most), most]


def _closed_loop(plan: Plan, connections: int, whole_s: float) -> Plan:
    """Return a run that takes a time in all, as far as its own warm-up leaves some."""
    whole_s = max(whole_s, _LEAST_S)
    warmup_s = 0.0 if plan.warmup_auto else plan.warmup_s or _WARMUP_SHARE * whole_s
    return replace(
        plan,
        rate=None,
        arrivals="constant",
        connections=connections,
        duration_s=max(whole_s - warmup_s, _LEAST_S),
        warmup_s=warmup_s,
    )
