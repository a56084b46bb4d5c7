"""`abench run SCENARIO`: a load test by users who take the paths of a Python file."""

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from abench.cli.bench import bench
from abench.cli.exit_codes import OK
from abench.cli.help import OTHER, Rows
from abench.cli.options import LOAD, declare
from abench.cli.plan_options import with_run_options
from abench.errors import ParameterError
from abench.plan.plan import Plan
from abench.plan.scenario_file import ScenarioFile
from abench.scenario.loading import Scenario, load

SECTIONS: Mapping[str, Rows] = {
    "Examples": (
        ("abench run --example > shop.py", "# to begin with"),
        ("abench run shop.py --once -v", "# each step of one user"),
        ("abench run shop.py -c 50 -t 60", "# fifty users"),
        ("abench run shop.py http://localhost:8000/ -R 20", "# 20 paths a second"),
        ("abench run shop.py --fail-if 'checks>1%'", "# a gate for CI: code 4"),
    ),
}
"""What --help shows after the options."""

WITHOUT = frozenset(
    (
        *("urls", "method", "data", "form", "replay_log", "speed", "pipeline", "http09"),
        *("think_time", "requests_per_connection", "follow", "cookies"),
    )
)
"""The options of a load test that say which requests are made: a scenario says it itself."""


ScenarioAndUrl = Annotated[
    list[str],
    typer.Argument(
        metavar="SCENARIO [URL]",
        help="A Python file, and the server's URL if not its own.",
        rich_help_panel="Arguments",
        show_default=False,
    ),
]
Example = Annotated[
    bool, declare(OTHER, "--example", text="Print a scenario to begin with, and exit.")
]
Once = Annotated[
    bool, declare(LOAD, "--once", text="Take each path once, as one user, who does not think.")
]
Verbose = Annotated[bool, declare(LOAD, "--verbose", "-v", text="With --once: show each step.")]


def _run_scenario(
    plan_for: Callable[[list[str]], Plan],
    scenario: ScenarioAndUrl = [],  # noqa: B006 - typer makes a list of its own
    example: Example = False,
    once: Once = False,
    verbose: Verbose = False,
    **reports: Any,
) -> int:
    """Load a web server as users do: each takes the paths of a Python file.

    Each async function of the file is a path. Each of the -c users has a connection and cookies,
    and takes one path after the other; with --rate or --stages, a path is begun when it is due.
    What is said of requests holds for those of the scenario; -n counts paths.
    """
    if example:
        sys.stdout.write((files("abench.scenario") / "example.py").read_text("utf-8"))
        return OK
    loaded, plan = _plan(plan_for, scenario)
    if once:
        once_module = import_module("abench.cli.once")
        code: int = once_module.take_paths_once(loaded, plan, verbose=verbose)
        return code
    if verbose:
        raise ParameterError("--verbose", "it needs --once: with many users, steps are counted")
    return _LOAD_TEST(lambda _: plan, [plan.url], **reports)


_LOAD_TEST: Callable[..., int] = bench.__wrapped__  # type: ignore[attr-defined]


def _with_reports_of_load_test() -> inspect.Signature:
    """Return the signature of `abench run`, which has all options of a load test's reports."""
    own = list(inspect.signature(_run_scenario).parameters.values())[:-1]
    reports = list(inspect.signature(_LOAD_TEST).parameters.values())[2:]
    return inspect.Signature(
        [*own, *(one for one in reports if one.name != "show_version")], return_annotation=int
    )


_run_scenario.__signature__ = _with_reports_of_load_test()  # type: ignore[attr-defined]
run_scenario = with_run_options(_run_scenario, WITHOUT)


def _plan(plan_for: Callable[[list[str]], Plan], given: list[str]) -> tuple[Scenario, Plan]:
    """Return the scenario and its plan; raises ParameterError."""
    if not given:
        raise ParameterError("SCENARIO", "no file is given; abench run --example prints one")
    name, *urls = given
    if len(urls) > 1:
        raise ParameterError("URL", "a scenario has one server: give one URL")
    scenario = load(ScenarioFile.read(name))
    url = urls[0] if urls else scenario.url
    if not url:
        raise ParameterError(
            "URL", f'give one after {Path(name).name}, or write URL = "http://..." in it'
        )
    return scenario, replace(plan_for([url]), scenario=scenario.file)
