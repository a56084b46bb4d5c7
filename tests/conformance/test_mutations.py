"""Every fact of the table is compared: with the fact flipped, the row fails."""

from pathlib import Path

import pytest

from tests.conformance.mutations import mutants, survivors


@pytest.mark.slow
def test_every_flipped_fact_fails(root: Path) -> None:
    assert survivors(list(mutants()), root) == []
