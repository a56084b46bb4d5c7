"""The rows under every other I/O model."""

from pathlib import Path

import pytest

from aserve.transport.registry import BY_THE_BOOK, DEFAULT, MODELS, find_model
from tests.conformance.check_rows import check_rows
from tests.conformance.serving import serving
from tests.conformance.table import Row


def applies_to(row: Row) -> bool:
    return not (
        row.awaits_timeout or row.all_methods
    )  # no other model has the settings that these need


FORMS = [(model, False) for model in MODELS if model != DEFAULT]
FORMS += [(model, True) for model in BY_THE_BOOK]


@pytest.mark.parametrize(("model", "by_the_book"), FORMS)
def test_rows(model: str, by_the_book: bool, rows: list[Row], root: Path) -> None:
    if reason := find_model(model, by_the_book=by_the_book).unavailable_reason():
        pytest.skip(reason)
    with serving(root, model=model, by_the_book=by_the_book) as ask:
        check_rows(rows, ask)
