"""A cache may forget and never decides: off, cold and warm, every row gets the same octets."""

import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import aserve
from tests.conformance.conftest import SERVER
from tests.conformance.rows import ROWS
from tests.conformance.table import Row, TagOf, fill
from tests.conformance.talk import Address, tags_of

PATIENCE = 10.0
KEPT = {200, 206, 304}

pytestmark = pytest.mark.skipif(SERVER != "aserve", reason="others remember in their own way")


class Remembering:
    """A server that remembers, and a look at whether it has done so."""

    def __init__(self, server: aserve.Server) -> None:
        self.address = address_of(server)
        self.model = server._worker._server

    def settle(self) -> None:
        """Return when nothing is being remembered any more: that happens beside the reply."""
        pool = self.model.thread_pool
        while pool._free_slots < pool._size.threads + pool._size.queue:
            time.sleep(0.0005)  # what is looked at tells nobody


def concerns(row: Row) -> bool:
    return not (row.waits or row.switched)


def address_of(server: aserve.Server) -> Address:
    place = urlsplit(server.url)
    return Address(str(place.hostname), int(place.port or 0))


@pytest.fixture(scope="module")
def forgetful(root: Path) -> Iterator[Address]:
    with aserve.Server(root, response_cache=0) as server:
        yield address_of(server)


@pytest.fixture(scope="module")
def remembering(root: Path) -> Iterator[Remembering]:
    with aserve.Server(root) as server:
        yield Remembering(server)


@pytest.fixture(scope="module")
def tag_of(forgetful: Address) -> TagOf:
    return tags_of(forgetful, PATIENCE)


def said(address: Address, octets: bytes) -> bytes:
    """Return all that a server says to octets and the end of them, but for its dates."""
    with socket.create_connection(address, PATIENCE) as sock:
        heard = b""
        with suppress(ConnectionResetError):  # it may have heard enough before the end
            sock.sendall(octets)
            sock.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while data := sock.recv(65_536):
                heard += data
    return re.sub(rb"\r\nDate: [^\r]*", b"", heard)


def test_row(row: Row, forgetful: Address, remembering: Remembering, tag_of: TagOf) -> None:
    octets = fill(row.octets, tag_of) + row.held
    off = said(forgetful, octets)
    for _ in range(5):  # cold, seen before, remembered by its fields, by its head, and again
        assert said(remembering.address, octets) == off
        remembering.settle()


def test_it_does_remember(remembering: Remembering, tag_of: TagOf) -> None:
    plain = [row for row in ROWS if row.is_pure and row.ours.replies[0].statuses <= KEPT]
    octets = {fill(row.octets, tag_of) for row in plain[:100]}
    for one in octets:
        for _ in range(4):
            said(remembering.address, one)
            remembering.settle()
    heads = remembering.model.cache._by_head
    assert sum(one in heads for one in octets) > len(octets) * 3 // 4
