"""Where a script tag goes: what browsers take for the start of the head."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.http.script_injection import MAX_PREFIX, find_insertion

HTML = "text/html; charset=utf-8"


def inserted(document: str) -> str:
    """Return a document with a bar where the tag goes."""
    position = find_insertion(document.encode(), HTML).position
    return f"{document[:position]}|{document[position:]}"


MARKED = [
    # Nothing but text, an empty file, a fragment.
    "|",
    "|hello",
    "|<p>hello",
    "  \n|hello",
    # The head has a tag.
    "<head>|<title>x</title>",
    "<!doctype html><html><head>|",
    '<!doctype html>\n<html lang="en">\n<head>|\n<meta charset="utf-8">',
    "<!DOCTYPE HTML><HTML><HEAD>|<TITLE>x</TITLE>",
    "<head data-a=\"a>b\" data-b='<head>'>|",
    '<head\tdata-a=a"b data-c>|',
    "<head/>|<title>",
    "<head\n>|",
    # It has none, or what comes before it has opened it already.
    "<!doctype html>|",
    "<!doctype html>|<title>x</title><head>",
    "<html>|<meta charset=utf-8>",
    "<html>\n|x<head>",
    "<!doctype html>|<header>x</header>",
    "|<heading>",
    "|<head",
    "<!doctype html>|<head data-a='never closed>",
    "|</head>",
    "|</p>",
    # Comments, and what browsers take for comments.
    "<!-- <head> --><!doctype html><head>|",
    "<!--><head>|-->",
    "<!---><head>|-->",
    "<!-- a --!><head>|",
    "<!-- -- > <head> --><head>|",
    "<? xml ?><head>|",
    "<![if IE]><head>|",
    "</ head><head>|",
    "</><head>|",
    "|<!-- never closed <head>",
    "<!doctype html>|<!-- never closed <head>",
    "|<! never closed <head",
    '<!doctype html PUBLIC "-//W3C//DTD>|"><head>',
    '<html lang=en"><head>|',
]


def test_the_place_of_a_tag() -> None:
    assert [inserted(marked.replace("|", "", 1)) for marked in MARKED] == MARKED


@pytest.mark.parametrize(
    ("document", "is_page"),
    [
        ("<!doctype html>x", True),
        ("<html>x", True),
        ("<!-- x --><HEAD>", True),
        ("<body>x", True),
        ("<p>x</p>", False),
        ("x<html>", False),
        ("", False),
        ("<header>", False),
    ],
)
def test_a_whole_page_says_so(document: str, is_page: bool) -> None:
    assert find_insertion(document.encode(), HTML).is_page == is_page


@pytest.mark.parametrize(
    ("data", "media_type", "position", "encoding"),
    [
        (b"\xef\xbb\xbf<head>", HTML, 9, "utf-8"),
        (b"\xff\xfe" + "<head>".encode("utf-16-le"), HTML, 14, "utf-16-le"),
        (b"\xfe\xff" + "<head>".encode("utf-16-be"), HTML, 14, "utf-16-be"),
        ("<head>".encode("utf-16-le"), "text/html;charset=UTF-16", 12, "utf-16-le"),
        ("<head>".encode("utf-16-be"), 'text/html; charset="utf-16be"', 12, "utf-16-be"),
        ("\u013c<head>".encode("utf-16-le"), "text/html; charset=utf-16le", 0, "utf-16-le"),
        (b"<!-- \xfc --><head>", "text/html; charset=iso-8859-1", 16, "utf-8"),
        (b"<head>", "text/html", 6, "utf-8"),
        (b"\xff", HTML, 0, "utf-8"),
        (b"\xff\xfe<", HTML, 2, "utf-16-le"),
    ],
)
def test_the_encoding_of_a_tag(data: bytes, media_type: str, position: int, encoding: str) -> None:
    assert find_insertion(data, media_type)[:2] == (position, encoding)


before_head = st.lists(
    st.sampled_from(
        [
            *(" ", "\n", "<!-- <head> -->", "<!doctype html>", "<!-->", "<?php x ?>", "<!x>"),
            *("<html>", "<HTML lang=en>", '<html a="<head>">', "<!-- -- -->", "</ x>"),
        ]
    )
).map("".join)
heads = st.sampled_from(["<head>", "<HEAD>", "<head >", "<head a='>'>", "<head a=b/>", "<Head\nx>"])


@given(before_head, heads, st.text())
def test_a_tag_goes_right_behind_that_of_the_head(before: str, head: str, after: str) -> None:
    assert inserted(before + head + after) == f"{before}{head}|{after}"


@given(before_head, heads | st.just(""), st.text(), st.sampled_from(["utf-16le", "utf-16be"]))
def test_wide_characters_make_no_difference(
    before: str, head: str, after: str, charset: str
) -> None:
    document = before + head + after.removeprefix("\ufeff")
    narrow = find_insertion(document.encode(), "text/html")
    wide = find_insertion(document.encode(charset), f"text/html; charset={charset}")
    text = document.encode()[: narrow.position].decode()
    assert wide.position == len(text.encode(charset))
    assert wide[2:] == narrow[2:]


@given(st.binary(max_size=300) | st.text("<>!-/head html='\"?\n").map(str.encode))
def test_no_document_is_too_odd(data: bytes) -> None:
    position, encoding, *_ = find_insertion(data, HTML)
    assert 0 <= position <= len(data)
    assert not encoding.startswith("utf-16") or position % 2 == 0


@pytest.mark.parametrize(
    "part",
    [b"<!-- ", b"<html a=", b"<html a", b"<!-- -->", b"<html a='", b"<head a ", b"</ ", b"<!"],
)
def test_a_long_document_is_read_once(part: bytes) -> None:
    """If a pattern tried again and again, this would take hours."""
    document = (part * MAX_PREFIX)[:MAX_PREFIX]
    assert find_insertion(document, HTML).position <= MAX_PREFIX
