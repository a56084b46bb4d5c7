"""docs/event-loops.md: aserve on several event loops and versions of Python."""

from pathlib import Path

from benchmarks import rounds
from benchmarks.loops.works import ROWS
from benchmarks.results import Result

PAGE = Path("docs/event-loops.md")
NAMES = tuple(work.name for work in ROWS)

_INTRODUCTION = """\
# Event loops and versions of Python, measured

<!-- Written by: python -m benchmarks --render, from benchmarks/results. Do not edit it here. -->

aserve runs on uvloop where it is installed, and on asyncio's own loop where it is not
(`aserve/server/event_loops.py`). `--model asyncio` chooses asyncio's. There is no option for other
loops; the tables show what one would gain.

To try another one, `python -m benchmarks.loops.serve LOOP DIRECTORY` runs the whole server on it.
Its table `LOOPS` has a line for each: what makes a loop, which must be an `AbstractEventLoop` with
`add_reader`, `create_connection(sock=)`, `connect_accepted_socket` and transports that have
`get_extra_info("socket")` and buffer limits. Of these, rloop and uringcore lack some, which are
added there.

- *on uvloop*: what is installed by default, on the version of Python that runs the benchmark.
- *on rloop*: a loop in Rust. *on uringcore*: a loop on io_uring. It has no wheel for CPython
  3.11, and therefore runs on 3.13.
- *on CPython 3.x*: uvloop on that version. It has an environment of its own, made by
  `make VENV=.venv-3.13 PYTHON=python3.13 .venv-3.13/.run`.
- A loop whose load had a single error is left out, with the reason.

As everywhere, servers run side by side and are loaded in turns: [how](comparison-rounds.md).
Figures are medians, with the lowest and the highest round in parentheses.
"""


def page(found: dict[str, Result]) -> str:
    """Return the page."""
    sections = [rounds.section(result) for result in found.values()]
    parts = [_INTRODUCTION, *sections, rounds.conditions(found), rounds.commands(found)]
    return (
        "\n".join(part for part in parts if part)
        if found
        else f"{_INTRODUCTION}\nNot measured yet.\n"
    )
