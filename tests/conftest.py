"""Options of the whole suite, and the order of the tests."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--row", help="only rows of the conformance table with this name, such as 'range-*'"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the container tests first: they mostly wait, and would delay the end if they ran last."""
    items.sort(key=lambda item: "docker" not in item.keywords)
