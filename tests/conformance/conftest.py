"""The files for all levels, and the rows as parameters: the id of a test is the row's name."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.conformance.pending import PENDING, SPLIT_DEPENDENT
from tests.conformance.rows import ROWS
from tests.conformance.site import build
from tests.conformance.table import Row

SERVER = os.environ.get("CONFORMANCE_SERVER", "aserve")
"""The server of the socket level; of other servers, only what the RFC asks for is expected."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "row" in metafunc.fixturenames:
        selected = [row for row in ROWS if getattr(metafunc.module, "applies_to", bool)(row)]
        metafunc.parametrize("row", list(_params(selected, metafunc.function.__name__)))


def _params(rows: Iterable[Row], test: str) -> Iterator[object]:
    expected_failures = PENDING if test == "test_row" else SPLIT_DEPENDENT
    for row in rows:
        reason = expected_failures.get(row.name) if SERVER == "aserve" else None
        marks = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
        yield pytest.param(row, id=row.name, marks=marks)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("conformance"))
