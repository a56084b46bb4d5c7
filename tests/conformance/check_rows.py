"""Ask many rows in one test: a test for each row would cost more than its answer."""

from collections.abc import Callable, Iterable

import pytest

from tests.conformance.table import Row

Ask = Callable[[Row], list[str]]
"""Runs a row; returns a description of each error."""

_MAX_FAILURES = 50
"""A server that is broken altogether may also be slow: the other rows are not asked then."""


def check_rows(rows: Iterable[Row], ask: Ask) -> None:
    """Ask every row, and fail with a list of the rows that failed, each with its errors."""
    asked, failures = 0, []
    for row in rows:
        asked += 1
        if errors := _ask(row, ask):
            failures.append(f"{row.name} ({row.clause}): {'; '.join(errors)}")
        if len(failures) == _MAX_FAILURES:
            break
    if failures:
        summary = f"{len(failures)} of the {asked} rows asked failed:"
        pytest.fail("\n  ".join([summary, *failures]), pytrace=False)
    assert asked, "no row was asked"


def _ask(row: Row, ask: Ask) -> list[str]:
    try:
        return ask(row)
    except Exception as error:  # noqa: BLE001 - any exception is a failure of its row
        return [f"{type(error).__name__}: {error}"]
