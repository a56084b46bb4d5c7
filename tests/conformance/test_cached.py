"""The cache never changes a response: off, cold and warm, every row gets the same bytes."""

import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import aserve
from tests.conformance.check_rows import check_rows
from tests.conformance.checks import PROBE
from tests.conformance.client import Address, tags_of
from tests.conformance.rows import ROWS
from tests.conformance.serving import TIMEOUT, address_of
from tests.conformance.table import Row, TagOf, fill_tags

COMPRESS = "siblings"
"""What is compressed while it is served is other bytes once the best level is there."""
CACHED_STATUSES = {200, 206, 304}


class CachingServer:
    """A server with its response cache on, and access to that cache."""

    def __init__(self, server: aserve.Server) -> None:
        self.address = address_of(server)
        self.model = server._running._worker._current._server

    def wait_stored(self) -> None:
        """Wait until no response is being stored: that happens after the response is sent."""
        pool = self.model.thread_pool
        while pool._free_slots < pool._size.threads + pool._size.queue:
            time.sleep(0.0005)  # there is no event to wait for


def applies_to(row: Row) -> bool:
    return not (row.awaits_timeout or row.all_methods)


@pytest.fixture(scope="module")
def uncached(root: Path) -> Iterator[Address]:
    with aserve.Server(root, response_cache=0, compress=COMPRESS) as server:
        yield address_of(server)


@pytest.fixture(scope="module")
def cached(root: Path) -> Iterator[CachingServer]:
    with aserve.Server(root, compress=COMPRESS) as server:
        yield CachingServer(server)


@pytest.fixture(scope="module")
def tag_of(uncached: Address) -> TagOf:
    return tags_of(uncached, TIMEOUT)


def exchange(address: Address, sent: bytes) -> bytes:
    """Send data and EOF; return everything that the server sends, without its dates."""
    with socket.create_connection(address, TIMEOUT) as sock:
        received = b""
        with suppress(ConnectionResetError):  # it may close before it has read everything
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while data := sock.recv(65_536):
                received += data
    return re.sub(rb"\r\nDate: [^\r]*", b"", received)


def test_rows(rows: list[Row], uncached: Address, cached: CachingServer, tag_of: TagOf) -> None:
    probed = exchange(uncached, PROBE)

    def ask(row: Row) -> list[str]:
        sent = fill_tags(row.data, tag_of) + row.continue_body
        expected = exchange(uncached, sent)
        errors = []
        for state in ("cold", "seen once", "cached by its headers", "cached by its head", "again"):
            if exchange(cached.address, sent) != expected:
                errors.append(f"{state}: other bytes than without the cache")
            cached.wait_stored()
        if exchange(cached.address, PROBE + sent) != probed + expected:
            errors.append("pipelined: other bytes than without the cache")
        return errors

    check_rows(rows, ask)


def test_responses_are_cached(cached: CachingServer, tag_of: TagOf) -> None:
    cacheable = [
        row for row in ROWS if row.is_pure and row.aserve.responses[0].statuses <= CACHED_STATUSES
    ]
    heads = {fill_tags(row.data, tag_of) for row in cacheable[:100]}
    for head in heads:
        for _ in range(4):
            exchange(cached.address, head)
            cached.wait_stored()
    by_head = cached.model.cache._by_head
    assert sum(head in by_head for head in heads) > len(heads) * 3 // 4
