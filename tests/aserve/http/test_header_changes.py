"""What rules may do to headers, and what stays correct whatever they say."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aserve
from aserve.http.header_changes import (
    HeaderChange,
    change_error,
    change_headers,
    is_always_added,
    set_error,
    unset_error,
    without_names,
)
from aserve.http.messages import Request, Response

OWN = (("Server", "aserve"), ("Content-Type", "text/plain"), ("ETag", '"a"'))


def changed(*changes, own=OWN, status=200, method="GET"):
    response = change_headers(Request(method, "/a"), Response(status, own), changes)
    return list(response.headers)


def test_a_set_header_replaces_all_lines_of_its_name_in_any_case():
    rule = HeaderChange(set=(("server", "mine"), ("Link", "</a>"), ("link", "</b>")))
    assert changed(rule) == [*OWN[1:], ("server", "mine"), ("Link", "</a>"), ("link", "</b>")]


def test_a_later_rule_replaces_what_an_earlier_one_has_set():
    one, other = HeaderChange(set=(("X-A", "1"), ("X-B", "1"))), HeaderChange(set=(("x-a", "2"),))
    assert changed(one, other)[3:] == [("x-a", "2"), ("X-B", "1")]


def test_an_appended_value_is_joined_but_for_cookies():
    first = HeaderChange(set=(("X-A", "1"), ("Set-Cookie", "a=1")))
    second = HeaderChange(append=(("x-a", "2"), ("Set-Cookie", "b=2"), ("Server", "mine")))
    assert changed(first, second) == [
        *OWN[1:],
        ("x-a", "1, 2"),
        *[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")],
        ("Server", "aserve, mine"),
    ]


def test_a_change_may_leave_names_alone():
    change = HeaderChange((("X-A", "1"), ("X-B", "1")), (("X-A", "2"),), ("X-a", "X-C"), "here")
    assert without_names(change, {"x-d"}) is change
    assert without_names(change, {"x-a"}) == HeaderChange(
        (("X-B", "1"),), (), ("X-C",), source="here"
    )


def test_a_header_is_removed_whoever_has_set_it():
    rule = HeaderChange(set=(("X-A", "1"),))
    assert changed(rule, HeaderChange(unset=("x-a", "etag", "X-None"))) == [*OWN[:2]]


def test_within_a_rule_a_name_is_removed_before_it_is_set():
    assert changed(HeaderChange(set=(("X-A", "1"),), unset=("X-A",)))[-1] == ("X-A", "1")


@pytest.mark.parametrize(
    "name",
    [
        *("Connection", "content-length", "TRANSFER-ENCODING", "Trailer", "Upgrade", "Keep-Alive"),
        *("Date", "TE", "Content-Range", "Proxy-Connection", "Allow", "Status"),
    ],
)
def test_what_frames_a_message_can_be_neither_set_nor_removed(name):
    assert set_error(name, "1").startswith(f"{name} cannot be set: ")
    assert unset_error(name).startswith(f"{name} cannot be removed: ")
    assert change_error(HeaderChange(append=((name, "1"),)))


@pytest.mark.parametrize("name", ["ETag", "last-modified", "Accept-Ranges", "Location"])
def test_what_the_server_compares_can_not_be_set(name):
    assert "cannot be set" in set_error(name, "1")


@pytest.mark.parametrize("name", ["Vary", "Content-Encoding", "Location"])
def test_what_a_response_needs_can_not_be_removed(name):
    assert "cannot be removed" in unset_error(name)


@pytest.mark.parametrize("name", ["", "a b", "a:", "ä", "a\n", "a\0"])
def test_a_name_is_a_token(name):
    assert "is not the name of a header" in set_error(name, "1")
    assert "is not the name of a header" in unset_error(name)


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\n", "\0", "\x7f", "ä", "\x85"])
def test_a_value_breaks_no_line(value):
    assert "has a control character, or one beyond ASCII" in set_error("X-A", value)


def test_a_change_without_faults_has_no_error():
    assert not change_error(HeaderChange((("X-A", "a\tb"),), (("X-A", ""),), ("X-B", "ETag")))


@pytest.mark.parametrize("status", [301, 304, 404, 412, 416, 500])
def test_an_error_or_a_redirect_keeps_what_says_what_it_is(status):
    rule = HeaderChange(set=(("Content-Type", "text/css"), ("Content-Language", "en"), ("X", "1")))
    assert changed(rule, status=status) == [*OWN, ("X", "1")]


def test_only_files_get_the_type_of_files():
    rule = HeaderChange(set=(("Content-Type", "text/css"),))
    assert changed(rule)[-1] == changed(rule, method="HEAD")[-1] == ("Content-Type", "text/css")
    assert changed(rule, method="POST") == [*OWN]
    ranges = (("Content-Type", "multipart/byteranges; boundary=x"),)
    assert changed(rule, own=ranges, status=206) == [*ranges]


@pytest.mark.parametrize(
    ("status", "own", "value", "expected"),
    [
        (200, "no-cache", "max-age=60", "max-age=60"),
        (206, "no-cache", "max-age=60", "max-age=60"),
        (304, "no-cache", "max-age=60", "max-age=60"),
        (404, "no-cache", "max-age=60", "no-cache"),
        (301, "no-cache", "max-age=60", "no-cache"),
        (404, "no-cache", "no-store", "no-store"),
        (404, "no-cache", "private, no-cache", "private, no-cache"),
        (200, "no-store", "max-age=60", "no-store"),
        (200, "no-store", "no-cache", "no-store"),
        (200, "no-store", "private, no-store", "private, no-store"),
    ],
)
def test_no_error_and_no_secret_is_cached_longer(status, own, value, expected):
    rule = HeaderChange(set=(("Cache-Control", value),))
    assert changed(rule, own=(("Cache-Control", own),), status=status) == [
        ("Cache-Control", expected)
    ]


def test_a_file_that_is_compressed_stays_so():
    rule = HeaderChange(set=(("Content-Encoding", "gzip"),))
    assert changed(rule)[-1] == ("Content-Encoding", "gzip")
    own = (("Content-Encoding", "br"),)
    assert changed(rule, own=own) == [*own]


def test_what_a_response_varies_by_is_never_less():
    own = (("Vary", "Accept-Encoding"), ("X", "1"))
    one, other = HeaderChange(set=(("vary", "Cookie, accept-encoding"),)), HeaderChange()
    assert changed(one, other, own=own) == [("X", "1"), ("Vary", "Accept-Encoding, Cookie")]


def test_a_policy_of_the_server_is_enforced_besides_that_of_a_rule():
    own = (("Content-Security-Policy", "sandbox"), ("X-Content-Type-Options", "nosniff"))
    rule = HeaderChange(
        set=(("Content-Security-Policy", "default-src *"), ("X-Content-Type-Options", "none"))
    )
    assert changed(rule, own=own) == [*own, ("Content-Security-Policy", "default-src *")]
    assert changed(HeaderChange(unset=("Content-Security-Policy",)), own=own) == [*own]
    later = HeaderChange(set=(("Content-Security-Policy", "img-src *"),))
    assert changed(rule, later) == [
        *OWN,
        ("Content-Security-Policy", "img-src *"),
        ("X-Content-Type-Options", "none"),
    ]


def test_every_header_of_a_handler_is_known():
    """What a rule adds to all responses at once must be in none of them already.

    But in those of links, which replace what rules have added.
    """
    package = Path(aserve.__file__).parent
    sources = [
        path.read_text()
        for room in ("http", "handlers", "policies", "http1")
        for path in (package / room).rglob("*.py")
        if path.name not in {"server_header.py", "shares.py"}
    ]
    names = set(
        re.findall(r'\("([A-Z][a-z]*(?:-[A-Z][a-z]+)+|Vary|Link|ETag)", ', "".join(sources))
    )
    others = {"Accept-Encoding", "Content-Transfer-Encoding"}  # in lists, and a part's of a form
    made = {name for name in names - others if set_error(name, "x") == ""}
    assert {"Retry-After", "Content-Security-Policy", "Cache-Control"} <= made
    assert not {name for name in made if is_always_added(name.lower())}


NAMES = st.from_regex(r"[A-Za-z][A-Za-z-]{0,6}", fullmatch=True)
LINES = st.lists(st.tuples(NAMES, st.text("abc \r\n\0é", max_size=4)), max_size=4).map(tuple)


@given(own=LINES, set_lines=LINES, append=LINES, unset=st.lists(NAMES, max_size=3).map(tuple))
def test_a_change_without_faults_breaks_no_head(own, set_lines, append, unset):
    change = HeaderChange(set_lines, append, unset)
    if change_error(change):
        return
    for name, value in changed(change, own=()):
        assert re.fullmatch(r"[A-Za-z-]+: [abc ,]*", f"{name}: {value}")
    kept = [line for line in own if line in changed(change, own=own)]
    touched = {name.lower() for name in (*dict(set_lines), *dict(append), *unset)}
    assert [line for line in own if line[0].lower() not in touched] == [
        line for line in kept if line[0].lower() not in touched
    ]
