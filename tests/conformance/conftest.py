"""The files that the table uses, and the rows as parameters of the tests.

`part`: the rows of one part of the table, for the level that asks every row in every run. `rows`: a
cross-section of all rows, and all of them, which takes longer. `all_rows`: only the latter. A
module may define `applies_to(row)`. The option --row leaves only the rows that it names.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.conformance.rows import PARTS, ROWS, cross_section
from tests.conformance.site import build
from tests.conformance.table import Row


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    named = metafunc.config.getoption("row")
    applies_to = getattr(metafunc.module, "applies_to", bool)

    def select(rows: Iterable[Row]) -> list[Row]:
        return [row for row in rows if applies_to(row) and fnmatchcase(row.name, named or "*")]

    if "part" in metafunc.fixturenames:
        params = [pytest.param(select(rows), id=name) for name, rows in PARTS.items()]
        metafunc.parametrize("part", [param for param in params if param.values[0]])
    elif "all_rows" in metafunc.fixturenames:
        metafunc.parametrize("all_rows", [pytest.param(select(ROWS), id="all")])
    elif "rows" in metafunc.fixturenames:
        selected = select(ROWS)
        groups = [pytest.param(selected, id="all", marks=[] if named else [pytest.mark.slow])]
        if not named:
            groups.insert(0, pytest.param(cross_section(selected), id="cross-section"))
        metafunc.parametrize("rows", groups if selected else [])


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("conformance"))
