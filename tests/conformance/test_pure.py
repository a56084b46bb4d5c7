"""Level one: request and files to response, without a connection."""

from functools import cache
from pathlib import Path
from types import MappingProxyType

import pytest

from aserve.filesystem.directory import Directory
from aserve.handlers.methods import enabled_methods
from aserve.handlers.static_site import StaticSite
from aserve.http.messages import Request, Response
from tests.conformance.instant import NOW
from tests.conformance.judge import reply_faults
from tests.conformance.reader import Reply
from tests.conformance.table import TUNNEL, Row, TagOf, fill

_BY_THE_WIRE = {"date", "server", "connection", "version"}


def concerns(row: Row) -> bool:
    return row.is_pure


@pytest.fixture(scope="module")
def site(root: Path) -> StaticSite:
    return StaticSite(Directory(root))


@pytest.fixture(scope="module")
def switched(root: Path) -> StaticSite:
    return StaticSite(Directory(root), enabled_methods(traces=True, tunnels=[TUNNEL]))


@pytest.fixture(scope="module")
def tag_of(site: StaticSite) -> TagOf:
    @cache
    def one(target: str, coding: str) -> str:
        fields = {"host": "test", "accept-encoding": coding}
        return dict(site.handle(Request("GET", target, headers=fields), NOW).headers)["ETag"]

    return one


def test_row(row: Row, site: StaticSite, switched: StaticSite, tag_of: TagOf) -> None:
    assert row.messages[0].pure
    method, target, minor, fields = row.messages[0].pure
    filled = {
        name: fill(value.encode("latin-1"), tag_of).decode("latin-1")
        for name, value in fields.items()
    }
    text = row.octets.decode("latin-1")
    request = Request(method, target, minor, MappingProxyType(filled), head=text)
    response = (switched if row.switched else site).handle(request, NOW)
    (expected,) = row.ours.replies
    assert reply_faults(expected, _as_sent(response), tag_of, unseen=_BY_THE_WIRE) == []


def _as_sent(response: Response) -> Reply:
    body = b"".join(
        piece if isinstance(piece, bytes) else piece.source.read(piece.start, piece.stop)
        for piece in response.body
    )
    length = () if response.length is None else (("content-length", str(response.length)),)
    fields = tuple((name.lower(), value) for name, value in response.headers)
    return Reply("HTTP/1.1", response.status, fields + length, body)
