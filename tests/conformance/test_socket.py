"""Level three: a real socket, to aserve or to the server that CONFORMANCE_SERVER names."""

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

TIMEOUT = 10.0
"""Seconds without a byte after which no response is expected. aserve never takes that long."""


@contextmanager
def serving(root: Path, **settings: Any) -> Iterator[Address]:
    with aserve.Server(root, **settings) as server:
        url = urlsplit(server.url)
        yield Address(str(url.hostname), int(url.port or 0))


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[Address]:
    with serving(root) if SERVER == "aserve" else running(SERVER, root) as server:
        yield server


@pytest.fixture(scope="module")
def timeout_results(root: Path) -> Iterator[Mapping[str, Future[list[str]]]]:
    """The errors of the rows that wait for a timeout; they all wait at the same time."""
    rows = [row for row in ROWS if row.waits]
    limits = Limits(keepalive_timeout=1, header_timeout=1, transfer_timeout=1)
    with serving(root, limits=limits) as address, ThreadPoolExecutor(len(rows)) as pool:
        yield {
            row.name: pool.submit(ask, row, row.ours, address, TIMEOUT, tags_of(address, TIMEOUT))
            for row in rows
        }


@pytest.fixture(scope="module")
def switched(root: Path) -> Iterator[Address]:
    with serving(root, allow_trace=True, allow_connect=(TUNNEL,)) as address:
        yield address


@pytest.fixture(scope="module")
def tag_of(address: Address) -> TagOf:
    return tags_of(address, TIMEOUT)


def test_row(row: Row, address: Address, tag_of: TagOf, request: pytest.FixtureRequest) -> None:
    if SERVER != "aserve" and row.name not in COMPARED:
        pytest.skip("tests a choice or a setting of aserve")
    if row.waits:
        assert request.getfixturevalue("timeout_results")[row.name].result() == []
    else:
        outcome = row.ours if SERVER == "aserve" else row.rfc
        server = request.getfixturevalue("switched") if row.switched else address
        assert ask(row, outcome, server, TIMEOUT, tag_of) == []
