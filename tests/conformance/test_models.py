"""The rows under every other I/O model."""

from pathlib import Path
from typing import Any

import pytest

from aserve.transport.registry import BY_THE_BOOK, DEFAULT, MODELS
from tests.conformance.check_rows import check_rows
from tests.conformance.serving import serving
from tests.conformance.table import Row
from tests.marks import slow_except


def applies_to(row: Row) -> bool:
    return not (
        row.awaits_timeout or row.all_methods
    )  # no other model has the settings that these need


FORMS: dict[str, dict[str, Any]] = {
    **{model: {"model": model} for model in MODELS if model != DEFAULT},
    **{f"{model} by the book": {"model": model, "by_the_book": True} for model in BY_THE_BOOK},
    "proactor with threads": {"model": "proactor", "threads": 2},
}


QUICK = ("blocking", "epoll", "iterative", "reactor", "proactor", "simulated-proactor by the book")


@pytest.mark.timeout(600)  # under coverage, each process that serves a client writes a file
@pytest.mark.parametrize("form", slow_except(FORMS, *QUICK))
def test_rows(form: str, rows: list[Row], root: Path) -> None:
    settings = FORMS[form]
    if reason := MODELS[settings["model"]].unavailable_reason():
        pytest.skip(reason)
    with serving(root, **settings) as ask:
        check_rows(rows, ask)
