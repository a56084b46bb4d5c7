"""The order of the tests."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the containers: they mostly wait, and would be waited for if they came last."""
    items.sort(key=lambda item: "docker" not in item.keywords)
