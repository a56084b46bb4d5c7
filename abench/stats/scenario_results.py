"""The results of a scenario: its iterations, its checks, and its requests by step."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from abench.stats.derivation import Run
from abench.stats.figure import Figure, Gate, derived
from abench.stats.group_results import GroupResult, group_figures
from abench.stats.latency import Latency
from abench.stats.scenario_counts import ScenarioCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult(GroupResult):
    """The results of the requests of one step."""

    name: Annotated[
        str,
        Figure(
            "Step",
            "The name that the scenario gives, or else the method and the path.",
            after="",
        ),
    ]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How often one check has passed and failed."""

    name: Annotated[str, Figure("Check", "The name of the check.")]
    passed: Annotated[int, Figure("Passed", "How often it was true.", "checks")]
    failed: Annotated[int, Figure("Failed", "How often it was not.", "checks")]


@dataclass(frozen=True, slots=True)
class ExceptionResult:
    """Exceptions that came from one line of the scenario."""

    place: Annotated[str, Figure("Place", "The name of the file and the number of the line.")]
    message: Annotated[
        str,
        Figure(
            "Message",
            "The class and the message of one of them, escaped and at most 200 characters.",
            schema={"maxLength": 200},
        ),
    ]
    count: Annotated[int, Figure("Count", "How many there were.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioResult:
    """How the users of a scenario fared. An iteration is one way along one of its paths."""

    file: Annotated[str, Figure("File", "The name of the scenario's file.")]
    completed: Annotated[
        int, Figure("Completed", "Iterations that came to the end of their path.", "iterations")
    ]
    failed: Annotated[
        int,
        Figure(
            "Failed",
            "Iterations that a request without a response has ended.",
            "iterations",
        ),
    ]
    raised: Annotated[
        int,
        Figure("Raised", "Iterations that an exception in the scenario has ended.", "iterations"),
    ]
    unfinished: Annotated[
        int,
        Figure("Unfinished", "Iterations under way when the run ended.", "iterations"),
    ]
    per_sec: Annotated[float, Figure("Rate", "Completed iterations per second.", "/s")]
    time: Annotated[
        Latency,
        Figure(
            "Times",
            "Of completed iterations without think time: from when each was due, in a closed "
            "loop from its start, to its end.",
            "us",
        ),
    ]
    checks_failed: Annotated[
        int,
        Figure(
            "Failed checks",
            "Checks of all names that were not true.",
            "checks",
            gate=Gate("checks", of="checked"),
        ),
    ]
    checks: Annotated[
        tuple[CheckResult, ...], Figure("Checks", "Each check by name, in alphabetical order.")
    ]
    steps: Annotated[
        tuple[StepResult, ...], Figure("Steps", "The requests by step, in alphabetical order.")
    ]
    exceptions: Annotated[
        tuple[ExceptionResult, ...],
        Figure("Exceptions", "Where the scenario raised, the most frequent first."),
    ]

    @property
    @derived("Checked", "checks", after="checks_failed")
    def checked(self) -> int:
        """How many checks were made, of all names."""
        return sum(one.passed + one.failed for one in self.checks)

    @property
    def ended(self) -> int:
        """Iterations with an end."""
        return self.completed + self.broken

    @property
    @derived(
        "Broken", "iterations", after="raised", gate=Gate("iterations", of="ended")
    )  # fmt: skip
    def broken(self) -> int:
        """Iterations that did not come to the end of their path: `failed` and `raised`."""
        return self.failed + self.raised


def scenario_result(run: Run) -> ScenarioResult | None:
    """Return how the users of a scenario fared; None for a run without one."""
    if run.plan.scenario is None:
        return None
    counted = run.summary.scenario
    completed = counted.ends["completed"]
    return ScenarioResult(
        file=Path(run.plan.scenario.path).name,
        completed=completed,
        failed=counted.ends["failed"],
        raised=counted.ends["raised"],
        unfinished=counted.unfinished,
        per_sec=completed / run.duration_s if run.duration_s else 0.0,
        time=Latency.of(counted.times),
        checks_failed=sum(one.failed for one in counted.checks.values()),
        checks=tuple(
            CheckResult(name, one.passed, one.failed)
            for name, one in sorted(counted.checks.items())
        ),
        steps=tuple(
            StepResult(name=name, **group_figures(run, one))
            for name, one in sorted(counted.steps.items())
        ),
        exceptions=_exceptions(counted),
    )


def _exceptions(counted: ScenarioCounts) -> tuple[ExceptionResult, ...]:
    found = [
        ExceptionResult(place, one.message, one.count) for place, one in counted.exceptions.items()
    ]
    return tuple(sorted(found, key=lambda one: (-one.count, one.place)))
