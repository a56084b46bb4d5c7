"""The threat model, and the page about writing, name tests and rows that exist."""

import fnmatch
import re
from pathlib import Path

from tests.aserve.writing.rows import ROWS as WRITING_ROWS
from tests.conformance.rows import ROWS

TESTS = Path(__file__).parent
PAGES = [TESTS.parent / "docs" / name for name in ("threat-model.md", "writing.md")]
TABLES = [
    table
    for page in PAGES
    for table in re.findall(r"(?:^\|.*\n)+", page.read_text(), re.MULTILINE)
    if table.startswith("| promise |")
]
CELLS = re.findall(r"^\| .+ \| (.+) \|$", "".join(TABLES), re.MULTILINE)
ROW_NAMES = [row.name for row in (*ROWS, *WRITING_ROWS)]
CITED = [name for cell in CELLS for name in re.findall(r"`([^`]+)`", cell)]


def is_test(name: str) -> bool:
    file, _, function = name.partition("::")
    path = TESTS / file
    return path.is_file() and re.search(rf"\bdef {function}\(", path.read_text()) is not None


def is_row(pattern: str) -> bool:
    return bool(fnmatch.filter(ROW_NAMES, pattern))


def test_every_test_that_holds_a_promise_exists() -> None:
    assert len(CITED) > 100
    assert [name for name in CITED if not (is_test if "::" in name else is_row)(name)] == []


def test_every_promise_is_held_by_a_test() -> None:
    header, *promises = [cell for cell in CELLS if cell != "---"]
    assert header == "held by"
    assert [cell for cell in promises if cell != header and "`" not in cell] == []
