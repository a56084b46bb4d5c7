"""Parameters of which only some are tested in every run."""

from collections.abc import Iterable

import pytest


def slow(*values: object) -> object:
    """Return the values of one test as a parameter that is marked slow."""
    return pytest.param(*values, marks=pytest.mark.slow)


def slow_except(values: Iterable[object], *quick: object) -> list[object]:
    """Return parameters that are marked slow, except those in `quick`."""
    values = list(values)
    assert all(value in values for value in quick)
    return [value if value in quick else slow(value) for value in values]
