"""The areas of a site that can be written to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.handlers.writing.areas import WriteAreas, parse_area


@pytest.mark.parametrize(
    ("text", "area"),
    [
        ("/", ((), "all")),
        ("add", ((), "add")),
        ("add:/", ((), "add")),
        ("add:", ((), "add")),
        ("/in", ((b"in",), "all")),
        ("/a%20b/c/", ((b"a b", b"c"), "all")),
        ("/ö", None),  # as in a URL: percent-encoded
        ("/%C3%B6", ((b"\xc3\xb6",), "all")),
        ("", None),
        ("in", None),
        ("all", None),
        ("add/in", None),
        ("/in?x", None),
        ("/in#x", None),
        ("/in%", None),
        ("/in%00", None),
    ],
)
def test_an_area(text, area):
    assert parse_area(text) == area


@given(st.text())
def test_any_text_is_an_area_or_none(text):
    area = parse_area(text)
    assert area is None or area.shown_path().endswith("/")


def test_the_longest_path_decides():
    areas = WriteAreas(filter(None, map(parse_area, ["add:/a", "/a/b", "/c"])))
    found = {path: areas.mode_in(path) for path in [(), (b"a",), (b"a", b"b", b"c"), (b"cc",)]}
    assert found == {(): None, (b"a",): "add", (b"a", b"b", b"c"): "all", (b"cc",): None}
