"""Where a script tag goes into an HTML document of any shape, so that browsers run it first.

The start of a document is read as a browser reads it (WHATWG HTML, 13.2.5 and 13.2.6.4.1 to .4): up
to the head, only white space, comments, a doctype and the html tag do not open the head. So a tag
at that place is in the head, before any other script and before any policy in a meta element.
"""

import re
from typing import NamedTuple

MAX_PREFIX = 65_536
"""Bytes of the start of a document that are read to find the place."""

_BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_UTF_16_LABELS = {"utf-16": "utf-16-le", "utf-16le": "utf-16-le", "utf-16be": "utf-16-be"}

_CHARSET = re.compile(r';\s*charset\s*=\s*"?([^";\s]+)', re.IGNORECASE)

# Possessive, so that no input makes them try twice. A quote has no meaning inside a value that
# does not begin with one.
_SPACE = rb"[\t\n\f\r ]"
_VALUE = rb"""(?:"[^"]*+"|'[^']*+'|[^\t\n\f\r >"'][^\t\n\f\r >]*+|(?=>))"""
_EQUALS = _SPACE + b"*+=" + _SPACE + b"*+"
_ATTRIBUTES = (
    rb"(?:[\t\n\f\r /]++|[^\t\n\f\r />][^\t\n\f\r />=]*+"  # the name may begin with "="
    rb"(?:%b%b|(?!%b)))*+" % (_EQUALS, _VALUE, _EQUALS)
)
_HEAD = re.compile(rb"<head(?=[\t\n\f\r />])%b>" % _ATTRIBUTES, re.IGNORECASE)
_BODY = re.compile(rb"<(?:body|head)(?=[\t\n\f\r />])", re.IGNORECASE)
_BEFORE_HEAD = re.compile(
    rb"[\t\n\f\r ]++"
    rb"|<!--(?:-?>|.*?--!?>)"
    rb"|(?P<root><!doctype[^>]*+>|<html(?=[\t\n\f\r />])%b>)"
    rb"|<!(?!--)[^>]*+>|<\?[^>]*+>|</[^a-z>][^>]*+>|</>" % _ATTRIBUTES,
    re.IGNORECASE | re.DOTALL,
)


class Insertion(NamedTuple):
    """Where a tag goes.

    position: in bytes. encoding: the codec that the tag is to be encoded with. is_page: whether the
    document says that it is a whole page, by a doctype or a tag of html, head or body. in_head:
    whether it has a head tag.
    """

    position: int
    encoding: str
    is_page: bool
    in_head: bool


def find_insertion(prefix: bytes, media_type: str) -> Insertion:
    """Return where a tag goes in a document.

    prefix: its first MAX_PREFIX bytes, or all. media_type: its Content-Type; a byte order mark
    comes before the charset of that, as in browsers.
    """
    start, encoding = _encoding(prefix, media_type)
    width = 2 if encoding.startswith("utf-16") else 1
    text = _ascii_view(prefix[start:], encoding)
    at, is_page = 0, False
    while part := _BEFORE_HEAD.match(text, at):
        at = part.end()
        is_page = is_page or part["root"] is not None
    is_page = is_page or _BODY.match(text, at) is not None
    head = _HEAD.match(text, at)
    return Insertion(
        start + width * (head.end() if head else at), encoding, is_page, head is not None
    )


def _encoding(prefix: bytes, media_type: str) -> tuple[int, str]:
    """Return the length of the byte order mark, and a codec for ASCII text in this document.

    All encodings of the web but UTF-16 have ASCII text as it is, and no "<" as part of another
    character.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if prefix.startswith(mark):
            return len(mark), encoding
    charset = _CHARSET.search(media_type)
    return 0, _UTF_16_LABELS.get(charset[1].lower() if charset else "", "utf-8")


def _ascii_view(data: bytes, encoding: str) -> bytes:
    """Return one byte for each code unit: its ASCII character, or 0xFF for any other."""
    if not encoding.startswith("utf-16"):
        return data
    low, high = (data[0::2], data[1::2]) if encoding == "utf-16-le" else (data[1::2], data[0::2])
    return bytes(0xFF if more else unit for unit, more in zip(low, high, strict=False))
