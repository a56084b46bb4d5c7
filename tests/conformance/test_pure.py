"""Level one: the handlers alone, without a connection."""

from functools import cache
from pathlib import Path
from types import MappingProxyType

import pytest

from aserve.filesystem.directory import Directory
from aserve.handlers.handler import RequestContext
from aserve.http.messages import Request, Response
from aserve.policies.site import Site
from tests.conformance.instant import NOW
from tests.conformance.judge import find_response_errors
from tests.conformance.reader import Response as WireResponse
from tests.conformance.table import TUNNEL, Row, TagOf, fill_tags

_CONNECTION_HEADERS = {"date", "server", "connection", "version"}


def applies_to(row: Row) -> bool:
    return row.is_pure


@pytest.fixture(scope="module")
def site(root: Path) -> Site:
    return Site.of_files(Directory(root))


@pytest.fixture(scope="module")
def switched(root: Path) -> Site:
    return Site.of_files(Directory(root), allow_trace=True, allow_connect=[TUNNEL])


@pytest.fixture(scope="module")
def tag_of(site: Site) -> TagOf:
    @cache
    def lookup(target: str, coding: str) -> str:
        headers = {"host": "test", "accept-encoding": coding}
        return dict(
            site.handle(Request("GET", target, headers=headers), RequestContext(NOW)).headers
        )["ETag"]

    return lookup


def test_row(row: Row, site: Site, switched: Site, tag_of: TagOf) -> None:
    assert row.messages[0].pure
    method, target, minor, headers = row.messages[0].pure
    filled = {
        name: fill_tags(value.encode("latin-1"), tag_of).decode("latin-1")
        for name, value in headers.items()
    }
    text = row.data.decode("latin-1")
    request = Request(method, target, minor, MappingProxyType(filled), head=text)
    response = (switched if row.switched else site).handle(request, RequestContext(NOW))
    (expected,) = row.ours.responses
    sent = _as_sent(response)
    assert find_response_errors(expected, sent, tag_of, ignored=_CONNECTION_HEADERS) == []


def _as_sent(response: Response) -> WireResponse:
    body = b"".join(
        part if isinstance(part, bytes) else part.source.read(part.start, part.stop)
        for part in response.body
    )
    length = () if response.length is None else (("content-length", str(response.length)),)
    headers = tuple((name.lower(), value) for name, value in response.headers)
    return WireResponse("HTTP/1.1", response.status, headers + length, body)
