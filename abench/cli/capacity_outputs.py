"""Where the answer of `abench capacity` goes: the terminal, and the files of its options."""

import sys
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

from rich.console import Console
from rich.table import Table
from rich.text import Text

from abench.cli import invocation
from abench.cli.exit_codes import INTERNAL
from abench.cli.options import REPORTS, declare
from abench.cli.outputs import check_distinct, write_one
from abench.report import capacity_text, scaling_text
from abench.report.answer import Answer
from abench.report.capacity_document import write_json
from abench.report.capacity_page import write_html, write_svg
from abench.report.destinations import Destination
from abench.report.html import check_available
from abench.runner.environment import read_environment
from abench.stats.capacity import Capacity
from abench.stats.scaling import Scaling

Json = Annotated[
    str | None,
    declare(REPORTS, "--json", value="FILE", text="Write the answer as JSON; - is stdout."),
]
Html = Annotated[
    str | None, declare(REPORTS, "--html", value="FILE", text="Write a page with the curve.")
]
Svg = Annotated[
    str | None, declare(REPORTS, "--svg", value="FILE", text="Write the curve as an image.")
]


@dataclass(slots=True)
class CapacityOutputs:
    """The files that the answer is written to; raises ParameterError if one cannot be written."""

    names: dict[str, str | None]
    destinations: dict[str, Destination] = field(init=False)

    def __post_init__(self) -> None:
        self.destinations = {
            option: Destination(option, name)
            for option, name in self.names.items()
            if name is not None
        }
        check_distinct(self.destinations)
        for option in self.destinations.keys() & {"--html", "--svg"}:
            check_available(option)

    def write_all(self, found: Capacity | Scaling, code: int) -> int:
        """Write the files, then print the answer; return the exit code.

        If an output is standard output, the answer is printed to standard error.
        """
        environment = read_environment(invocation.get_command_line() or ())
        answer = describe(found)
        writers = {
            "--json": partial(write_json, found, environment),
            "--html": partial(write_html, answer, environment),
            "--svg": partial(write_svg, answer),
        }
        written = [
            write_one(option, destination, writers[option])
            for option, destination in self.destinations.items()
        ]
        piped = any(destination.is_stdout for destination in self.destinations.values())
        print_answer(answer, Console(file=sys.stderr if piped else None, highlight=False))
        return code if all(written) else code or INTERNAL


def describe(found: Capacity | Scaling) -> Answer:
    """Return what is shown of a search."""
    if isinstance(found, Capacity):
        return capacity_text.describe(found)
    return scaling_text.describe(found)


def print_answer(answer: Answer, console: Console) -> None:
    """Print the table and the sentences, the answer itself first and in bold."""
    grid = Table.grid(padding=(0, 2))
    for name in answer.columns:
        grid.add_column(justify="right" if name else "left", no_wrap=True)
    grid.add_row(*(Text(name, style="dim") for name in answer.columns))
    for row in answer.rows:
        grid.add_row(*map(Text, row))
    if answer.rows:
        console.print(grid, "")
    first, *others = answer.sentences
    console.print(Text(first, style="bold"))
    for sentence in others:
        console.print(Text(sentence))
