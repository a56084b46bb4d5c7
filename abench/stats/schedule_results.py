"""How well the schedule of a run was met, as a whole and in each stage."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated

from abench.plan.schedule import ArrivalSchedule, Schedule
from abench.stats.derivation import Run
from abench.stats.figure import Figure, Gate, derived
from abench.stats.latency import SERVICE, STAGE_RESPONSE, Latency, latencies_with_waits
from abench.stats.stages import StageStats
from abench.stats.summary import FAILURES, Summary

LATE_TOLERANCE_S = 0.1  # how late the last of `-n` requests may start, for whatever reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleResult:
    """How well a schedule was met, in a run or in one of its stages."""

    offered: Annotated[
        float,
        Figure(
            "Offered rate",
            "Requests per second that the schedule asks for.",
            "/s",
            key="offered_per_sec",
        ),
    ]
    achieved: Annotated[
        float,
        Figure(
            "Achieved rate",
            "Requests per second that were due and were started.",
            "/s",
            key="achieved_per_sec",
            gate=Gate("achieved", of="offered", measured="due"),
        ),
    ]
    due: Annotated[int, Figure("Due", "Requests that were due.", "requests")]
    started: Annotated[int, Figure("Started", "Requests that were started.", "requests")]
    late: Annotated[
        int,
        Figure(
            "Late",
            "Requests that were started a millisecond or more after they were due.",
            "requests",
            gate=Gate("late", of="due"),
        ),
    ]
    skipped: Annotated[
        int,
        Figure(
            "Skipped",
            "Requests that were due and never started.",
            "requests",
            gate=Gate("skipped", of="due"),
        ),
    ]

    @property
    def late_share(self) -> float:
        """The share of the started requests that started late."""
        return self.late / self.started if self.started else 0.0

    @property
    def is_met(self) -> bool:
        """Whether the achieved rate is at least 99 % of the offered rate."""
        return self.achieved >= 0.99 * self.offered


@dataclass(frozen=True, slots=True)
class StageResult:
    """The results of the requests that were due in one stage."""

    text: Annotated[str, Figure("Stage", "The stage as it was given.", key="stage")]
    from_s: Annotated[float, Figure("Start", "Seconds after the schedule began.", "s")]
    length_s: Annotated[float, Figure("Length", "Seconds, as far as the run went.", "s")]
    schedule: Annotated[ScheduleResult, Figure(inline=True)]
    succeeded: Annotated[
        int,
        Figure(
            "Succeeded",
            "Requests of the stage whose response was complete, in time and as expected.",
            "requests",
        ),
    ]
    failed: Annotated[int, Figure("Failed", "Requests of the stage that failed.", "requests")]
    unfinished: Annotated[
        int,
        Figure(
            "Unfinished", "Requests of the stage without an outcome when the run ended.", "requests"
        ),
    ]
    service: Annotated[Latency, SERVICE]
    response: Annotated[Latency, STAGE_RESPONSE]
    bytes_received: Annotated[
        int,
        Figure(
            "Bytes received",
            "Bytes of complete responses to requests of the stage, headers included.",
            "bytes",
            after="unfinished",
            later=True,
        ),
    ] = 0
    status: Annotated[
        dict[int, int],
        Figure(
            "Status codes",
            "Responses by status code, successful and failed.",
            "responses",
            after="bytes_received",
            later=True,
        ),
    ] = field(default_factory=dict)
    failures: Annotated[
        dict[str, int],
        Figure(
            "Failures",
            "Failed requests of the stage by kind, as far as there were any.",
            "requests",
            after="status",
            later=True,
        ),
    ] = field(default_factory=dict)

    @property
    @derived("Rate", "/s", after="skipped", later=True)
    def pages_per_sec(self) -> float:
        """Successful requests of the stage, per second of its length."""
        return self.succeeded / self.length_s if self.length_s else 0.0

    @property
    def bytes_per_sec(self) -> float:
        """Bytes of complete responses, per second of its length."""
        return self.bytes_received / self.length_s if self.length_s else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSchedule(ScheduleResult):
    """The schedule of a whole run, and how well it was met."""

    requested: Annotated[
        float | None,
        Figure(
            "Rate",
            "Requests per second of `--rate`. Null with stages or a log.",
            "/s",
            key="rate",
            after="",
        ),
    ]
    arrivals: Annotated[
        str,
        Figure(
            "Arrivals",
            "constant: at equal distances. poisson: at random, as independent users arrive.",
            after="rate",
            schema={"enum": ["constant", "poisson"]},
        ),
    ]
    stages: Annotated[
        str | None,
        Figure("Stages", "The stages as they were given. Null without stages.", after="arrivals"),
    ]
    by_stage: Annotated[
        tuple[StageResult, ...],
        Figure(
            "Stages",
            "The results of each stage that the run reached. A request belongs to the stage "
            "in which it was due. Empty without stages.",
            later=True,
        ),
    ] = ()

    @property
    @derived("Rate met", after="skipped")
    def kept(self) -> bool:
        """Whether the achieved rate was at least 99 % of the offered rate."""
        return self.is_met


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
            # With a scenario, iterations are started, and requests fail.
            failed=counted.failures.total() if run.plan.scenario else counted.failed,
            unfinished=counted.unfinished,
            service=Latency.of(latencies_with_waits(counted, "service")),
            response=Latency.of(latencies_with_waits(counted, "response")),
            bytes_received=counted.bytes_received,
            status=dict(sorted(counted.status.items())),
            failures={kind: counted.failures[kind] for kind in FAILURES if counted.failures[kind]},
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
