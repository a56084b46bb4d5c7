"""abench: webbench reborn, with honest pages and bytes per second.

    abench -c 1000 -t 30 http://127.0.0.1:8000/

and from Python, against a server that is running:

    import abench

    report = abench.run(abench.Plan(url="http://127.0.0.1:8000/", connections=64, duration_s=3))
    print(report)  # as abench prints it
    print(f"{report.pages_per_sec:.0f} pages/sec, {report.failed} failed")
    print(f"99 of 100 within {report.service.percentiles['p99']} us")
    report.save("run.html")  # or .json, .csv, .hgrm, .svg, .txt

A Plan describes the run and raises `abench.ParameterError` if it is not possible; `run` raises
`abench.UnreachableError` if no server accepts a connection at the URL. `run` forks, so it should be
called in a process without other threads.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from abench.errors import AbenchError, ParameterError, UnreachableError
    from abench.plan.plan import Plan
    from abench.report.report import Report
    from abench.scenario.response import RequestFailed, Response
    from abench.scenario.rows import Rows
    from abench.scenario.user import User, check, weight

__all__ = [
    "AbenchError",
    "ParameterError",
    "Plan",
    "Report",
    "RequestFailed",
    "Response",
    "Rows",
    "UnreachableError",
    "User",
    "check",
    "run",
    "weight",
]

_EXPORTS = {
    "AbenchError": "abench.errors",
    "ParameterError": "abench.errors",
    "Plan": "abench.plan.plan",
    "Report": "abench.report.report",
    "RequestFailed": "abench.scenario.response",
    "Response": "abench.scenario.response",
    "Rows": "abench.scenario.rows",
    "UnreachableError": "abench.errors",
    "User": "abench.scenario.user",
    "check": "abench.scenario.user",
    "weight": "abench.scenario.user",
}


def run(plan: "Plan") -> "Report":
    """Carry out `plan` in worker processes, and return its Report.

    Blocks until the run has ended. Raises UnreachableError or ParameterError, and starts nothing,
    if the run is not possible.
    """
    results = import_module("abench.runner.measure").measure(plan)
    report: Report = import_module("abench.report.report").Report.of(results)
    return report


def __getattr__(name: str) -> object:
    """Import exported names on first use: `import abench` itself costs nothing."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
