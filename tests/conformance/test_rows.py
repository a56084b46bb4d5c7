"""Every row over a real socket: the level at which `make test` asks the whole table."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.check_rows import Ask, check_rows
from tests.conformance.serving import serving_all_rows
from tests.conformance.table import Row


def applies_to(row: Row) -> bool:
    return not row.awaits_timeout  # test_timeouts.py has those


@pytest.fixture(scope="module")
def ask(root: Path) -> Iterator[Ask]:
    with serving_all_rows(root) as ask:
        yield ask


def test_part(part: list[Row], ask: Ask) -> None:
    check_rows(part, ask)
