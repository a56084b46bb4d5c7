"""Content-Disposition: names of any bytes, as clients of two RFCs read them."""

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.http.content_disposition import attachment, parse_filename

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


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("attachment; filename=a.txt", "a.txt"),
        ('attachment; filename="a b.txt"', "a b.txt"),
        (r'ATTACHMENT ; x=y ; FileName = "a\"b\\c.txt"', r'a"b\c.txt'),
        # RFC 6266 section 4.3: the extended one counts, wherever it stands.
        ("attachment; filename=\"a.txt\"; filename*=UTF-8''%e4%b8%ad.txt", "中.txt"),
        ("attachment; filename*=utf-8'de'%C3%A4; filename=a", "ä"),
        ("attachment; filename*=iso-8859-1''%E4", "ä"),
        ("attachment; filename*=koi8-r''%E4; filename=a", "a"),
        ('attachment; filename="ä中"'.encode().decode("latin-1"), "ä中"),  # as clients send it
        ("attachment; filename=\xe4", "\xe4"),
        ("attachment; filename=a.txt; filename=b.txt", "a.txt"),
        *(("attachment", ""), ("", ""), ("filename=a", ""), ("attachment; filename", "")),
        ('attachment; filename="a', ""),
        ("attachment; filename=", ""),
    ],
)
def test_the_name_of_a_body_is_read_as_rfc_6266_has_it(value: str, name: str) -> None:
    assert parse_filename(value) == name


@given(st.text(max_size=40))
def test_what_attachment_writes_is_read_back(name: str) -> None:
    encoded = name.encode(errors="replace")
    assert parse_filename(attachment(encoded)) == encoded.decode()


@given(st.text(st.sampled_from("; =\"\\*filename'utf-8%C3\xe4a"), max_size=60))
def test_any_header_has_a_name_or_none(value: str) -> None:
    assert isinstance(parse_filename(value), str)
