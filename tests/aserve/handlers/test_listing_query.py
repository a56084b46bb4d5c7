"""The query of a listing: whatever it is, it is understood or rejected with 400."""

import os
import re
from fnmatch import fnmatchcase
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aserve.handlers.listing.model import Listing, ListingQuery
from aserve.handlers.listing.query import (
    MAX_PAGE_SIZE,
    MEDIA_TYPES,
    name_matcher,
    negotiate_form,
    parse_query,
)
from aserve.http.messages import HttpError
from aserve.http.request_target import TargetPath, parse_path

NAMES = ["sort", "order", "limit", "offset", "q", "deep", "format", "archive", "x"]
VALUES = ["name", "size", "time", "asc", "desc", "0", "1", "99999", "-1", "html", "json", "a b", ""]
QUERIES = st.builds(
    ListingQuery,
    sort=st.sampled_from(["name", "size", "time"]),
    order=st.sampled_from(["asc", "desc"]),
    limit=st.integers(1, MAX_PAGE_SIZE),
    offset=st.integers(0, 1 << 40),
    search=st.binary(max_size=20).map(os.fsdecode),
    is_deep=st.booleans(),
)


@given(st.text(max_size=40) | st.lists(st.tuples(*map(st.sampled_from, (NAMES, VALUES)))))
@example("?limit=" + "9" * 5_000)
@example("?q=%")
def test_every_query_is_understood_or_rejected(given_query: str | list[tuple[str, str]]) -> None:
    text = given_query if isinstance(given_query, str) else "?" + urlencode(given_query)
    detail = ""
    try:
        query, form = parse_query(text, 1_000)
    except HttpError as error:
        query, form, detail = ListingQuery(), None, f"{error.status} {error.detail}"
    assert not detail or re.match(r"400 The (parameter \w+ must|query has)", detail)
    assert form is None or form in MEDIA_TYPES
    assert 1 <= query.limit <= MAX_PAGE_SIZE
    assert query.offset >= 0


@given(QUERIES, st.integers(1, MAX_PAGE_SIZE))
def test_a_reference_leads_to_what_it_was_made_of(query: ListingQuery, page_size: int) -> None:
    """Through the parser of targets, as a client would send it."""
    listing = Listing(TargetPath((), is_directory=True), (), 0, page_size=page_size)
    reference = listing.reference(query)
    text = parse_path(f"/{reference.removeprefix('./')}").query
    assert parse_query(text, page_size) == (query, None)


@given(st.text(max_size=60))
def test_every_accept_header_has_a_form(accept: str) -> None:
    assert negotiate_form(accept) in MEDIA_TYPES


@given(st.text("aB.*?", min_size=1, max_size=6), st.text("aAbB.", min_size=1, max_size=8))
def test_a_search_is_a_part_of_a_name_or_a_glob(search: str, name: str) -> None:
    is_glob = "*" in search or "?" in search
    lower = search.lower(), name.lower()
    expected = fnmatchcase(lower[1], lower[0]) if is_glob else lower[0] in lower[1]
    matches = name_matcher(search)
    assert matches(name.encode()) is expected
    assert matches(b"deep/" + name.encode()) is expected


@pytest.mark.parametrize(
    ("search", "path"),
    [
        ("é", "E\u0301"),
        ("STRASSE", "straße"),
        ("\udcff", "a\udcff"),
        ("b/c", "a/b/c/d"),
        ("/c.txt", "a/c.txt"),
        ("a/**/c", "a/b/b/c"),
        ("*/c", "b/C"),
    ],
)
def test_a_search_that_finds(search: str, path: str) -> None:
    assert name_matcher(search)(os.fsencode(path))


@pytest.mark.parametrize(
    ("search", "path"), [("a", "a/b"), ("a*", "a/b"), ("*/c", "a/b/c"), ("a/*", "b/a/c")]
)
def test_a_search_that_does_not(search: str, path: str) -> None:
    assert not name_matcher(search)(os.fsencode(path))
