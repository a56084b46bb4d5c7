"""How far a run has come, as every view of a run says it."""

from dataclasses import dataclass

from abench.plan.plan import Plan
from abench.stats.summary import Summary
from abench.stats.units import count, duration, plural


@dataclass(frozen=True, slots=True)
class Advance:
    """`text` says how far; `done` of `total` are seconds or requests, None before the start."""

    text: str
    done: float = 0.0
    total: float | None = None


def advance(plan: Plan, summary: Summary, elapsed_s: float) -> Advance:
    """Return how far a run of `plan` has come, `elapsed_s` seconds after its clock has started.

    The clock stands at 0 while connections are opened and the server is warmed up.
    """
    if not elapsed_s:
        if plan.warms_up and summary.open_connections == plan.connections:
            return Advance("warming up")
        return Advance(f"connecting {plural(plan.connections, 'connection')}")
    if plan.requests:
        done = summary.scenario.ended if plan.scenario else summary.succeeded + summary.failed
        return Advance(f"{count(done)} of {count(plan.requests)}", done, plan.requests)
    length = plan.duration_s or 0.0
    shown = duration(int(min(elapsed_s, length)))
    return Advance(f"{shown} of {duration(length)}", min(elapsed_s, length), length)
