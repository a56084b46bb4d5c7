"""The options of a load test that compare it with others, and tell a CI system of it."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

from abench.cli import completion
from abench.cli.options import REPORTS, SUCCESS, declare
from abench.errors import ParameterError
from abench.plan.plan import Plan
from abench.stats.results import Results

_AUTO, _GITHUB, _OFF = ANNOTATIONS = ("auto", "github", "off")

Baseline = Annotated[
    str | None,
    declare(SUCCESS, "--baseline", value="FILE", text="Compare with a saved report, or A1,A2."),
]
Tolerance = Annotated[
    str | None,
    declare(
        SUCCESS, "--tolerance", value="PERCENT", text="Exit with 4 if worse by more than this."
    ),
]
Revision = Annotated[
    str | None,
    declare(
        REPORTS,
        "--revision",
        value="TEXT",
        text="What is measured, as a commit.",
        show_default="CI's",
    ),
]
Otlp = Annotated[
    str | None,
    declare(REPORTS, "--otlp", value="URL", text="Send metrics to this OpenTelemetry collector."),
]
Annotations = Annotated[
    str,
    declare(
        REPORTS,
        "--annotations",
        value="WHERE",
        text="Annotate jobs: github, off.",
        show_default="auto",
        autocompletion=completion.annotations,
    ),
]


def parse_percent(text: str | None) -> float | None:
    """Return `5` or `5%` as a number; raises ParameterError."""
    try:
        value = None if text is None else float(text.removesuffix("%"))
    except ValueError:
        value = -1.0
    if value is not None and not 0 <= value < float("inf"):
        raise ParameterError("--tolerance", f"{text!r} is not a percentage")
    return value


def parse_annotations(text: str) -> str:
    """Return `github` or `off`; raises ParameterError.

    GITHUB_ACTIONS is "true" where GitHub runs a workflow, and only there.
    """
    if text not in ANNOTATIONS:
        raise ParameterError("--annotations", f"{text!r} is not one of: {', '.join(ANNOTATIONS)}")
    if text == _AUTO:
        return _GITHUB if os.environ.get("GITHUB_ACTIONS") == "true" else _OFF
    return text


def parse_baseline(
    names: str | None, tolerance: str | None, plan: Plan
) -> Callable[[Results], Results]:
    """Return the function that compares a run with the baseline; raises ParameterError.

    What cannot be compared is refused before the run.
    """
    tolerated_percent = parse_percent(tolerance)
    if names is None:
        if tolerance is not None:
            raise ParameterError("--tolerance", "requires --baseline")
        return lambda report: report
    from abench.cli.compare import read_runs
    from abench.stats.baseline import compare_with_baseline

    runs = read_runs(names, "--baseline")
    for run in runs:
        if not run.succeeded:
            raise ParameterError("--baseline", "a run of it has no successes to compare")
        if bool(run.response) != (plan.schedule is not None):
            raise ParameterError(
                "--baseline", "only one side has a schedule: they measure different things"
            )
    return lambda report: compare_with_baseline(report, runs, tolerated_percent)


def with_revision(report: Results, revision: str | None) -> Results:
    """Return the results of a run with what was measured, if that is given."""
    if revision is None or report.environment is None:
        return report
    return replace(report, environment=replace(report.environment, revision=revision))
