"""The rows that wait for a timeout of the server: all of them wait at the same time."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from pathlib import Path
from threading import Lock

import pytest

from aserve.transport.registry import DEFAULT, MODELS
from tests.conformance.check_rows import Ask, check_rows
from tests.conformance.serving import ONE_AT_A_TIME, SHORT_TIMEOUTS, serving
from tests.conformance.table import Row

OTHERS = [name for name in MODELS if name != DEFAULT and not MODELS[name].unavailable_reason()]


def applies_to(row: Row) -> bool:
    return row.awaits_timeout and not row.all_methods


@pytest.mark.parametrize(
    "models",
    [
        pytest.param([DEFAULT], id=DEFAULT),
        pytest.param(OTHERS, id="others", marks=pytest.mark.slow),
    ],
)
def test_timeouts(models: list[str], all_rows: list[Row], root: Path) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(len(models) * len(all_rows)) as pool:
        asked = {
            model: stack.enter_context(serving(root, model=model, limits=SHORT_TIMEOUTS))
            for model in models
        }
        turns = {model: Lock() for model in ONE_AT_A_TIME}

        def ask_in_turn(model: str, ask: Ask, row: Row) -> list[str]:
            with turns.get(model, nullcontext()):
                return ask(row)

        errors = {
            (model, row.name): pool.submit(ask_in_turn, model, ask, row)
            for model, ask in asked.items()
            for row in all_rows
        }

        def results(row: Row) -> list[str]:
            return [
                f"{model}: {error}"
                for model in models
                for error in errors[model, row.name].result()
            ]

        check_rows(all_rows, results)
