"""The rows under every other I/O model."""

from pathlib import Path

import pytest

from aserve.transport.registry import DEFAULT, MODELS
from tests.conformance.check_rows import check_rows
from tests.conformance.serving import serving
from tests.conformance.table import Row


def applies_to(row: Row) -> bool:
    return not (
        row.awaits_timeout or row.all_methods
    )  # no other model has the settings that these need


@pytest.mark.parametrize("model", [name for name in MODELS if name != DEFAULT])
def test_rows(model: str, rows: list[Row], root: Path) -> None:
    if reason := MODELS[model].unavailable_reason():
        pytest.skip(reason)
    with serving(root, model=model) as ask:
        check_rows(rows, ask)
