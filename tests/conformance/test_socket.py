"""Level three: a real socket, to aserve or to whatever CONFORMANCE_SERVER names."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import aserve
from aserve.http1.limits import Limits
from tests.conformance.compare import COMPARED
from tests.conformance.conftest import SERVER
from tests.conformance.external import running
from tests.conformance.rows import ROWS
from tests.conformance.table import TUNNEL, Row, TagOf
from tests.conformance.talk import Address, ask, tags_of

PATIENCE = 10.0
"""Seconds without an octet after which nothing is expected any more. aserve never needs them."""


@contextmanager
def serving(root: Path, **settings: Any) -> Iterator[Address]:
    with aserve.Server(root, **settings) as server:
        place = urlsplit(server.url)
        yield Address(str(place.hostname), int(place.port or 0))


@pytest.fixture(scope="module")
def patient(root: Path) -> Iterator[Address]:
    with serving(root) if SERVER == "aserve" else running(SERVER, root) as address:
        yield address


@pytest.fixture(scope="module")
def waited(root: Path) -> Iterator[Mapping[str, Future[list[str]]]]:
    """What is wrong with the rows that wait: they wait at the same time."""
    rows = [row for row in ROWS if row.waits]
    impatient = Limits(keepalive_timeout=1, header_timeout=1, transfer_timeout=1)
    with serving(root, limits=impatient) as address, ThreadPoolExecutor(len(rows)) as pool:
        yield {
            row.name: pool.submit(ask, row, row.ours, address, PATIENCE, tags_of(address, PATIENCE))
            for row in rows
        }


@pytest.fixture(scope="module")
def switched(root: Path) -> Iterator[Address]:
    with serving(root, trace=True, connect=(TUNNEL,)) as address:
        yield address


@pytest.fixture(scope="module")
def tag_of(patient: Address) -> TagOf:
    return tags_of(patient, PATIENCE)


def test_row(row: Row, patient: Address, tag_of: TagOf, request: pytest.FixtureRequest) -> None:
    if SERVER != "aserve" and row.name not in COMPARED:
        pytest.skip_head("wants what only aserve has")
    if row.waits:
        assert request.getfixturevalue("waited")[row.name].result() == []
    else:
        outcome = row.ours if SERVER == "aserve" else row.rfc
        address = request.getfixturevalue("switched") if row.switched else patient
        assert ask(row, outcome, address, PATIENCE, tag_of) == []
