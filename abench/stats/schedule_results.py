"""How well the schedule of a run was met, as a whole and in each stage."""

import math
from collections.abc import Iterator

from abench.plan.schedule import ArrivalSchedule, Schedule
from abench.stats.derivation import Run, latencies_with_waits, latency
from abench.stats.parts import RunSchedule, ScheduleResult, StageResult
from abench.stats.stages import StageStats
from abench.stats.summary import Summary

LATE_TOLERANCE_S = 0.1  # how late the last of `-n` requests may start, for whatever reason


def schedule(run: Run) -> RunSchedule | None:
    """Return how well the schedule was met, by rates that do not depend on the run's length.

    Few requests are due in a short run at a low rate: in 2 s at 0.1/s only the first. The offered
    rate is therefore the schedule's own over the run. The achieved rate is its share that was
    started; where `-n` ends the run, its share of what was due until the last request started.
    """
    plan, counted = run.plan, run.summary
    if plan.schedule is None:
        return None
    max_due = min(plan.schedule.due(run.duration_s), plan.requests or math.inf)
    due = counted.started + _skipped(counted, max_due, lost=counted.lost > 0)
    offered = _offered(run, plan.schedule, due)
    achieved = offered * (counted.started / due) if due else 0.0
    return RunSchedule(
        requested=plan.rate,
        arrivals=plan.arrivals,
        stages=plan.stages,
        offered=offered,
        achieved=achieved * _share_in_time(counted, plan.schedule),
        due=due,
        started=counted.started,
        late=counted.late,
        skipped=due - counted.started,
        by_stage=tuple(_stages(run)),
    )


def _share_in_time(counted: Summary, schedule: ArrivalSchedule) -> float:
    """Return which share was started of what was due until the last request started."""
    if not counted.last_start_ns or counted.lost:  # the share of a dead worker never started
        return 1.0
    due = schedule.due(counted.last_start_ns / 1e9 - LATE_TOLERANCE_S)
    return min(1.0, counted.started / due) if due > 0 else 1.0


def _skipped(counted: Summary | StageStats, due: float, *, lost: bool) -> int:
    """Return how many due requests never started, those of a dead worker included."""
    return max(counted.skipped, round(due) - counted.started) if lost else counted.skipped


def _offered(run: Run, schedule: ArrivalSchedule, due: int) -> float:
    """Return the rate at which requests were due; random arrivals are counted."""
    length_s = min(run.duration_s, schedule.length_s) or run.duration_s
    if not length_s:
        return 0.0
    random_arrivals = run.plan.arrivals == "poisson" and not run.plan.requests
    counted = random_arrivals or not isinstance(schedule, Schedule)
    return (due if counted else schedule.due(length_s)) / length_s


def _stages(run: Run) -> Iterator[StageResult]:
    """Yield each stage that the run reached."""
    stages, from_s = run.plan.schedule, 0.0
    if not run.plan.stages or not isinstance(stages, Schedule):
        return
    texts = run.plan.stages.split(",")
    for number, (text, stage) in enumerate(zip(texts, stages.stages, strict=True)):
        length_s = min(stage.length_s, run.duration_s - from_s)
        if length_s <= 0:
            return
        counted = run.summary.stages.get(number, StageStats())
        yield StageResult(
            text=text.strip(),
            from_s=from_s,
            length_s=length_s,
            schedule=_stage_schedule(counted, stage.due(length_s), length_s, run.summary.lost > 0),
            succeeded=counted.service.count,
            failed=counted.failed,
            unfinished=counted.unfinished,
            service=latency(latencies_with_waits(counted, "service")),
            response=latency(latencies_with_waits(counted, "response")),
        )
        from_s += stage.length_s


def _stage_schedule(
    counted: StageStats, max_due: float, length_s: float, lost: bool
) -> ScheduleResult:
    offered = max_due / length_s
    due = counted.started + _skipped(counted, max_due, lost=lost)
    return ScheduleResult(
        offered=offered,
        achieved=offered * (counted.started / due) if due else 0.0,
        due=due,
        started=counted.started,
        late=counted.late,
        skipped=due - counted.started,
    )
