"""One tree for all levels, and the rows as parameters: a test's name is its row's."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.conformance.pending import CUTS, PENDING
from tests.conformance.rows import ROWS
from tests.conformance.site import build
from tests.conformance.table import Row

SERVER = os.environ.get("CONFORMANCE_SERVER", "aserve")
"""Which server the socket level asks; of all but our own only what the RFC wants is expected."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "row" in metafunc.fixturenames:
        chosen = [row for row in ROWS if getattr(metafunc.module, "concerns", bool)(row)]
        metafunc.parametrize("row", list(_params(chosen, metafunc.function.__name__)))


def _params(rows: Iterable[Row], test: str) -> Iterator[object]:
    missing = PENDING if test == "test_row" else CUTS
    for row in rows:
        reason = missing.get(row.name) if SERVER == "aserve" else None
        marks = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
        yield pytest.param(row, id=row.name, marks=marks)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("conformance"))
