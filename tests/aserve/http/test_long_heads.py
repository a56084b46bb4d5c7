"""Long heads of every kind are handled quickly: function calls are counted, not time."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aserve.filesystem.directory import Directory
from aserve.handlers.handler import RequestContext
from aserve.http.error_pages import error_response
from aserve.http.qvalues import parse_qvalues
from aserve.http.request_target import parse_path
from aserve.http1.connection import H1Connection
from aserve.http1.limits import Limits
from aserve.policies.site import Site

MAX_CALLS = 12_000
"""One call for each path segment or escaped character; at most a millisecond or two. With a Python
function for each it was 20,000 to 50,000 calls, and up to 26 ms."""

WITH_TARGET = "{} HTTP/1.1\r\nHost: a\r\n\r\n"
WITH_HEADER = "GET /small HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n"
HEADS = {
    "raw-bytes": WITH_TARGET.format("GET /" + "\xff" * 8_000),
    "raw-bytes-in-a-query": WITH_TARGET.format("GET /?" + "\xff" * 8_000),
    "braces": WITH_TARGET.format("GET /" + "{" * 8_000),
    "braces-in-absolute-form": WITH_TARGET.format("GET http://a/" + "{" * 8_000),
    "options": WITH_TARGET.format("OPTIONS /" + "\xff" * 8_000),
    "escapes": WITH_TARGET.format("GET /" + "%41" * 2_600),
    "segments": WITH_TARGET.format("GET /" + "a/" * 4_000),
    "slashes": WITH_TARGET.format("GET " + "/" * 8_000),
    "dots": WITH_TARGET.format("GET /" + "a/../" * 1_600),
    "codings": WITH_HEADER.format("Accept-Encoding: " + "a;q=0.1," * 3_700 + "x"),
    "parameters": WITH_HEADER.format("Accept-Encoding: a" + ";b=0.1" * 5_000),
    "media": WITH_HEADER.format("Accept: " + "a/b;q=0.1," * 3_000 + "x").replace("small", "none"),
    "tags": WITH_HEADER.format("If-None-Match: " + '"",' * 10_000),
    "lists-of-tags": WITH_HEADER.format("\r\n".join(['If-None-Match: "a"'] * 95)),
    "connection-options": WITH_HEADER.format("Connection: " + "a," * 15_000 + "b"),
    "ranges": WITH_HEADER.format("Range: bytes=" + "0-0," * 7_500 + "1-1"),
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_long_heads_take_few_calls(head: str, tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"small")
    site, connection = Site.of_files(Directory(tmp_path)), H1Connection(Limits())

    def serve() -> None:
        connection.receive(head.encode("latin-1"))
        request = connection.next_request()
        assert request
        if request.error:
            response = error_response(request, request.error)
        else:
            response = site.handle(request, RequestContext(1_700_000_000))
        connection.start_response(response, "")

    assert count_calls(serve) < MAX_CALLS


def count_calls(work: Callable[[], None]) -> int:
    calls = 0

    def profile(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


def test_the_beginning_of_a_long_list_is_parsed() -> None:
    qvalues = parse_qvalues("br;q=0.5, gzip," + "x," * 5_000 + "zstd")
    assert qvalues["br"] == 0.5
    assert qvalues["gzip"] == 1
    assert "zstd" not in qvalues


def test_an_element_cut_by_the_limit_is_ignored() -> None:
    assert parse_qvalues("br," + "gzip" + " " * 3_000 + ";q=0") == {"br": 1}
    assert parse_qvalues("x" * 3_000) == {}


@pytest.mark.parametrize(
    ("target", "segments"),
    [
        ("/%41%5C%6e", (b"A\\n",)),
        ("/a%5Cx41", (b"a\\x41",)),
        ("/%ff%C3%a9", (b"\xff\xc3\xa9",)),
        ("/%25%34%31", (b"%41",)),
        ("/%2e%2E/a/%2e/b", (b"a", b"b")),
        ("/a//b/%2e%2e/c", (b"a", b"c")),
    ],
)
def test_escapes_are_decoded_once(target: str, segments: tuple[bytes, ...]) -> None:
    assert parse_path(target).segments == segments
