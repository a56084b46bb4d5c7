"""The commands of abench by name. Each row names its function, so that only that is imported."""

from importlib import import_module
from typing import Any, NamedTuple


class Command(NamedTuple):
    """A command: where its function is, and what it does."""

    module: str
    function: str
    summary: str

    def load(self) -> tuple[Any, Any]:
        """Import the command; return its module and its function."""
        module = import_module(f"abench.cli.{self.module}")
        return module, getattr(module, self.function)


BENCH = Command("bench", "bench", "load a server")
WEBBENCH = Command("webbench", "webbench", "webbench's own command line")
# A URL has "://" in it and no name of a command has: the first word tells them apart.
COMMANDS = {
    "ab-test": Command("ab_test", "ab_test", "measure two servers in turn and compare"),
    "calibrate": Command("calibrate", "calibrate", "the highest rates that abench can measure"),
    "compare": Command("compare", "compare_files", "compare saved reports"),
    "run": Command("run", "run_scenario", "load a server as users do, by a Python file"),
    "report": Command("report", "redraw", "print a saved report again"),
    "trend": Command("trend", "show_trend", "find changes in a history of runs"),
    "--webbench": WEBBENCH,
}
