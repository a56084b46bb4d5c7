"""The rows without sockets: the handlers, and a connection whose bytes arrive in every way."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.check_rows import check_rows
from tests.conformance.in_memory import InMemorySite
from tests.conformance.rows import PARTS
from tests.conformance.table import Row

_EDGE_SIZE, _STEP = 2_048, 4_093


def applies_to(row: Row) -> bool:
    return not row.awaits_timeout  # there is no clock here


@pytest.fixture(scope="module")
def site(root: Path) -> InMemorySite:
    return InMemorySite(root)


def test_handlers(rows: list[Row], site: InMemorySite) -> None:
    check_rows([row for row in rows if row.is_pure], site.ask_handlers)


def test_connection(rows: list[Row], site: InMemorySite) -> None:
    check_rows(rows, site.ask_connection)


def test_byte_by_byte(rows: list[Row], site: InMemorySite) -> None:
    def ask(row: Row) -> list[str]:
        data = site.fill(row.data)
        same = site.exchange(row, _small_reads(data)) == site.exchange(row, [data])
        return [] if same else ["the response depends on how the bytes arrive"]

    check_rows(rows, ask)


def _small_reads(data: bytes) -> Iterator[bytes]:
    """Yield single bytes, but larger reads in the middle of long data."""
    start = 0
    while start < len(data):
        in_middle = _EDGE_SIZE <= start < len(data) - _EDGE_SIZE - _STEP
        stop = start + (_STEP if in_middle else 1)
        yield data[start:stop]
        start = stop


@pytest.mark.parametrize("name", PARTS)
@settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_split_anywhere(name: str, site: InMemorySite, data: st.DataObject) -> None:
    row = data.draw(st.sampled_from([row for row in PARTS[name] if applies_to(row)]))
    sent = site.fill(row.data)
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=6))
    reads = [sent[start:stop] for start, stop in pairwise([0, *sorted(cuts), len(sent)])]
    assert site.exchange(row, reads) == site.exchange(row, [sent])
