"""Every row over sockets, under every model: the default model in each run."""

from pathlib import Path
from typing import Any

import pytest

from aserve.transport.registry import BY_THE_BOOK, DEFAULT, MODELS
from tests.aserve import programs
from tests.aserve.writing.exchange import ask
from tests.aserve.writing.rows import ROWS, SERVERS
from tests.aserve.writing.site import build
from tests.conformance.serving import address_of
from tests.marks import slow_except

FORMS: dict[str, dict[str, Any]] = {
    **{model: {"model": model} for model in MODELS},
    **{f"{model} by the book": {"model": model, "by_the_book": True} for model in BY_THE_BOOK},
    "without a cache": {"model": DEFAULT, "response_cache": 0},
}


def test_the_names_of_rows_are_different() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("form", slow_except(FORMS, DEFAULT))
def test_rows(form: str, server: str, tmp_path: Path) -> None:
    settings = FORMS[form]
    if reason := MODELS[settings["model"]].unavailable_reason():
        pytest.skip(reason)
    rows = [row for row in ROWS if row.server == server]
    root = tmp_path / "site"
    root.mkdir()
    build(root, rows)
    with programs.serve(root, **settings, **SERVERS[server]) as served:
        address = address_of(served)
        errors = [error for row in rows for error in ask(row, root, address)]
    assert not errors, "\n".join(errors)
