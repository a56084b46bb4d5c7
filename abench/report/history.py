"""A history of runs: a file with a line of JSON for each, which any number of runs append to.

docs/ci.md says what a line has.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from abench.errors import ParameterError
from abench.report.type_check import has_type
from abench.stats.history import HistoryEntry
from abench.stats.results import Results

SCHEMA = 1


def write_entry(report: Results, stream: TextIO) -> None:
    """Write the line of a run to `stream`."""
    plain = {"schema": SCHEMA, **asdict(HistoryEntry.of(report))}
    stream.write(json.dumps(plain) + "\n")


def read_history(path: Path) -> tuple[list[HistoryEntry], list[int]]:
    """Return the runs of a history, and the numbers of lines that are none.

    A writer may have been killed in the middle of a line, which costs that line. Raises
    ParameterError if the file cannot be read, has no run, or is of a later abench.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise ParameterError(str(path), (error.strerror or str(error)).lower()) from None
    found, invalid = [], []
    for number, line in _numbered(lines):
        entry = _parse(line, path)
        if entry:
            found.append(entry)
        else:
            invalid.append(number)
    if not found:
        raise ParameterError(str(path), "it is not a history of abench")
    return found, invalid


def _numbered(lines: list[str]) -> Iterator[tuple[int, str]]:
    yield from ((number, line) for number, line in enumerate(lines, 1) if line.strip())


def _parse(line: str, path: Path) -> HistoryEntry | None:
    """Return the run of a line, or None if it is no run."""
    try:
        plain: dict[str, Any] = json.loads(line)
        schema = plain.pop("schema")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
    if schema != SCHEMA:
        reason = f"its schema is {schema}, and this abench reads {SCHEMA}"
        raise ParameterError(str(path), reason)
    try:
        failed = tuple(plain.pop("failed_conditions"))
        entry = HistoryEntry(**plain, failed_conditions=failed)
    except (TypeError, LookupError):
        return None
    return entry if has_type(entry, HistoryEntry) else None
