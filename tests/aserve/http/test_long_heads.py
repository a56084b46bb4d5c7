"""Whatever a head is filled with, it is dealt with in a moment: calls are counted, not time."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aserve.filesystem.directory import Directory
from aserve.handlers.static_site import StaticSite
from aserve.http.error_pages import error_response
from aserve.http.qvalues import parse_qvalues
from aserve.http.request_target import parse_path
from aserve.http1.connection import H1Connection
from aserve.http1.limits import Limits

MAX_CALLS = 12_000
"""A call for each name in a path, or each character that is escaped; at most a millisecond or two.
With a function for each it was 20,000 to 50,000, and up to 26 ms."""

LINE = "{} HTTP/1.1\r\nHost: a\r\n\r\n"
FIELD = "GET /small HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n"
HEADS = {
    "raw-octets": LINE.format("GET /" + "\xff" * 8_000),
    "raw-octets-in-a-query": LINE.format("GET /?" + "\xff" * 8_000),
    "braces": LINE.format("GET /" + "{" * 8_000),
    "braces-in-absolute-form": LINE.format("GET http://a/" + "{" * 8_000),
    "options": LINE.format("OPTIONS /" + "\xff" * 8_000),
    "escapes": LINE.format("GET /" + "%41" * 2_600),
    "names": LINE.format("GET /" + "a/" * 4_000),
    "slashes": LINE.format("GET " + "/" * 8_000),
    "dots": LINE.format("GET /" + "a/../" * 1_600),
    "codings": FIELD.format("Accept-Encoding: " + "a;q=0.1," * 3_700 + "x"),
    "parameters": FIELD.format("Accept-Encoding: a" + ";b=0.1" * 5_000),
    "media": FIELD.format("Accept: " + "a/b;q=0.1," * 3_000 + "x").replace("small", "none"),
    "tags": FIELD.format("If-None-Match: " + '"",' * 10_000),
    "lists-of-tags": FIELD.format("\r\n".join(['If-None-Match: "a"'] * 95)),
    "options-of-the-connection": FIELD.format("Connection: " + "a," * 15_000 + "b"),
    "ranges": FIELD.format("Range: bytes=" + "0-0," * 7_500 + "1-1"),
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_long_heads_take_few_calls(head: str, tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"small")
    site, exchange = StaticSite(Directory(tmp_path)), H1Connection(Limits())

    def serve() -> None:
        exchange.receive(head.encode("latin-1"))
        request = exchange.next_request()
        assert request
        if request.error:
            response = error_response(request, request.error)
        else:
            response = site.handle(request, 1_700_000_000)
        exchange.start_response(response, "")

    assert calls_of(serve) < MAX_CALLS


def calls_of(work: Callable[[], None]) -> int:
    calls = 0

    def note(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


def test_what_stands_first_in_a_long_list_is_heard() -> None:
    wanted = parse_qvalues("br;q=0.5, gzip," + "x," * 5_000 + "zstd")
    assert wanted["br"] == 0.5
    assert wanted["gzip"] == 1
    assert "zstd" not in wanted


def test_an_element_that_is_not_read_to_its_end_does_not_count() -> None:
    assert parse_qvalues("br," + "gzip" + " " * 3_000 + ";q=0") == {"br": 1}
    assert parse_qvalues("x" * 3_000) == {}


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("/%41%5C%6e", (b"A\\n",)),
        ("/a%5Cx41", (b"a\\x41",)),
        ("/%ff%C3%a9", (b"\xff\xc3\xa9",)),
        ("/%25%34%31", (b"%41",)),
        ("/%2e%2E/a/%2e/b", (b"a", b"b")),
        ("/a//b/%2e%2e/c", (b"a", b"c")),
    ],
)
def test_escapes_are_decoded_once(target: str, names: tuple[bytes, ...]) -> None:
    assert parse_path(target).segments == names
