"""Level one: request and files to response, without a connection."""

from functools import cache
from pathlib import Path
from types import MappingProxyType

import pytest

from aserve.semantics.messages import Request, Response
from aserve.semantics.methods import switched_on
from aserve.site.answer import Site
from aserve.site.files import Disk
from tests.conformance.instant import NOW
from tests.conformance.judge import reply_faults
from tests.conformance.reader import Reply
from tests.conformance.table import TUNNEL, Row, TagOf, fill

_BY_THE_WIRE = {"date", "server", "connection", "version"}


def concerns(row: Row) -> bool:
    return row.is_pure


@pytest.fixture(scope="module")
def site(root: Path) -> Site:
    return Site(Disk(root))


@pytest.fixture(scope="module")
def switched(root: Path) -> Site:
    return Site(Disk(root), switched_on(traces=True, tunnels=[TUNNEL]))


@pytest.fixture(scope="module")
def tag_of(site: Site) -> TagOf:
    @cache
    def one(target: str, coding: str) -> str:
        fields = {"host": "test", "accept-encoding": coding}
        return dict(site.answer(Request("GET", target, fields=fields), NOW).fields)["ETag"]

    return one


def test_row(row: Row, site: Site, switched: Site, tag_of: TagOf) -> None:
    assert row.messages[0].pure
    method, target, minor, fields = row.messages[0].pure
    filled = {
        name: fill(value.encode("latin-1"), tag_of).decode("latin-1")
        for name, value in fields.items()
    }
    text = row.octets.decode("latin-1")
    request = Request(method, target, minor, MappingProxyType(filled), head=text)
    response = (switched if row.switched else site).answer(request, NOW)
    (expected,) = row.ours.replies
    assert reply_faults(expected, _as_sent(response), tag_of, unseen=_BY_THE_WIRE) == []


def _as_sent(response: Response) -> Reply:
    body = b"".join(
        piece if isinstance(piece, bytes) else piece.content.read(piece.start, piece.stop)
        for piece in response.body
    )
    length = () if response.length is None else (("content-length", str(response.length)),)
    fields = tuple((name.lower(), value) for name, value in response.fields)
    return Reply("HTTP/1.1", response.status, fields + length, body)
