"""The page is what the table says, and nothing was measured that the table no longer has."""

import json

from tests.conformance.compare import COMPARED, RESULTS
from tests.conformance.document import PAGE, current


def test_page_is_current() -> None:
    """Bring it up to date with: python -m tests.conformance.document"""
    assert PAGE.read_text() == current()


def test_results_are_of_this_table() -> None:
    """Measure again with: python -m tests.conformance.compare all --write"""
    for name, found in json.loads(RESULTS.read_text()).items():
        assert found["rows"] == len(COMPARED), name
        assert found["failed"].keys() <= COMPARED.keys(), name
