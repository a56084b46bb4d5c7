"""The page matches the table, and so do the results of other servers."""

import json

from tests.conformance.compare import COMPARED, RESULTS
from tests.conformance.document import PAGE, current


def test_page_is_current() -> None:
    """Update it with: python -m tests.conformance.document"""
    assert PAGE.read_text() == current()


def test_results_match_the_table() -> None:
    """Measure again with: python -m tests.conformance.compare all --write"""
    for name, results in json.loads(RESULTS.read_text()).items():
        assert results["rows"] == len(COMPARED), name
        assert results["failed"].keys() <= COMPARED.keys(), name
