"""Content-Disposition: names of any bytes, as clients of two RFCs read them."""

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.http.content_disposition import attachment

# RFC 6266 section 4.1, with a quoted-string without escapes, and RFC 8187 section 3.2.1.
_VALUE = re.compile(
    r'attachment; filename="(?P<plain>[ !#-\[\]-~]*)"'
    r"(?:; filename\*=UTF-8''(?P<extended>(?:[A-Za-z0-9!#$&+.^_`|~-]|%[0-9A-F]{2})*))?"
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"photos.zip", 'attachment; filename="photos.zip"'),
        (b"my photos.zip", 'attachment; filename="my photos.zip"'),
        ("ü.zip".encode(), "attachment; filename=\"_.zip\"; filename*=UTF-8''%C3%BC.zip"),
        (b'a"b.zip', "attachment; filename=\"a_b.zip\"; filename*=UTF-8''a%22b.zip"),
        (b"a%41.zip", "attachment; filename=\"a_41.zip\"; filename*=UTF-8''a%2541.zip"),
        (b"a\r\nX: y", "attachment; filename=\"a__X: y\"; filename*=UTF-8''a%0D%0AX%3A%20y"),
        (b"\xff", "attachment; filename=\"_\"; filename*=UTF-8''%EF%BF%BD"),
    ],
)
def test_a_name_is_plain_or_given_twice(name: bytes, value: str) -> None:
    assert attachment(name) == value


@given(st.binary())
def test_every_name_makes_a_valid_value(name: bytes) -> None:
    match = _VALUE.fullmatch(attachment(name))
    assert match
    text = name.decode(errors="replace")
    found = unquote_to_bytes(match["extended"]).decode() if match["extended"] else match["plain"]
    assert found == text
