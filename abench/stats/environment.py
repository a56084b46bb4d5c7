"""Where and how a run was made: what a reader needs to repeat it."""

from dataclasses import dataclass
from typing import Annotated

from abench.plan.target import without_secrets
from abench.stats.figure import Figure


@dataclass(frozen=True, slots=True)
class Environment:
    """How a run was made."""

    command: Annotated[
        tuple[str, ...],
        Figure(
            "Command",
            "The command line, one string for each word. `...` replaces what may be secret: "
            "user names, passwords, cookies, bodies, form fields, and all headers except "
            "harmless ones. For a run from Python: abench, the URL, and the settings of the "
            "plan as name=value, without headers, body and credentials.",
            read=lambda words: list(map(without_secrets, words)),
        ),
    ]
    started_at: Annotated[
        str,
        Figure(
            "Start time",
            "When the run started: date and time with the offset from UTC.",
            schema={"format": "date-time"},
        ),
    ]
    versions: Annotated[
        dict[str, str],
        Figure(
            "Versions",
            "The versions of abench, of Python and of the libraries that it measured with, by "
            "name.",
        ),
    ]
    machine: Annotated[
        dict[str, str | int],
        Figure(
            "Machine",
            "The machine that abench ran on: system, processor, cores that it may use, and "
            "memory_bytes.",
        ),
    ]
    revision: Annotated[
        str | None,
        Figure(
            "Revision",
            "What was measured, such as a commit: of `--revision`, or of the CI system. Null if "
            "it is not known.",
            later=True,
        ),
    ] = None
