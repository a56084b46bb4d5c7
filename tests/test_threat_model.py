"""The threat model names tests and rows that exist."""

import fnmatch
import re
from pathlib import Path

from tests.conformance.rows import ROWS

TESTS = Path(__file__).parent
CELLS = re.findall(
    r"^\| .+ \| (.+) \|$", (TESTS.parent / "docs" / "threat-model.md").read_text(), re.MULTILINE
)
CITED = [name for cell in CELLS for name in re.findall(r"`([^`]+)`", cell)]


def is_test(name: str) -> bool:
    file, _, function = name.partition("::")
    path = TESTS / file
    return path.is_file() and re.search(rf"\bdef {function}\(", path.read_text()) is not None


def is_row(pattern: str) -> bool:
    return bool(fnmatch.filter((row.name for row in ROWS), pattern))


def test_every_test_that_holds_a_promise_exists() -> None:
    assert len(CITED) > 100
    assert [name for name in CITED if not (is_test if "::" in name else is_row)(name)] == []


def test_every_promise_is_held_by_a_test() -> None:
    header, *promises = [cell for cell in CELLS if cell != "---"]
    assert header == "held by"
    assert [cell for cell in promises if cell != header and "`" not in cell] == []
