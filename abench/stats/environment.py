"""Where and how a run was made: what a reader needs to repeat it."""

import os
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

from abench.plan.target import without_secrets
from abench.stats.figure import Figure
from abench.version import abench_version

_PACKAGES = ("uvloop", "httptools", "hdrhistogram")


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


def read_environment(arguments: Iterable[str]) -> Environment:
    """Return the current environment; `arguments` is the command line without secrets."""
    return Environment(
        command=("abench", *map(_printable, arguments)),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={
            "abench": abench_version(),
            "python": platform.python_version(),
            **{name: _version(name) for name in _PACKAGES},
        },
        machine={
            "system": f"{platform.system()} {platform.release()}",
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        },
    )


def _printable(argument: str) -> str:
    """Escape bytes that are not UTF-8: other programs reject lone surrogates."""
    return without_secrets(os.fsencode(argument).decode(errors="backslashreplace"))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    found = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    return f"{found[1].strip()} ({platform.machine()})" if found else platform.machine()
