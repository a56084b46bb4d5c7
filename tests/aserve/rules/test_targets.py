"""Where rules lead to: never to a host that a request has chosen, and not in circles."""

import re
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.handlers.redirects import requested_path
from aserve.http.messages import HttpError
from aserve.rules.dialects import DIALECTS
from aserve.rules.problems import RuleError
from aserve.rules.site_rules import SiteRules
from aserve.rules.targets import checked_target, expand, is_same_address, with_query


@pytest.mark.parametrize(
    ("target", "values", "expected"),
    [
        ("/b/:id", {"id": "5"}, "/b/5"),
        ("/d/:y-:m.html", {"y": "5", "m": "6"}, "/d/5-6.html"),
        ("/d/:yy/:y", {"y": "5"}, "/d/5y/5"),
        ("/:id/:id2", {"id": "1", "id2": "2"}, "/1/2"),
        ("/d?x=:s#:s", {"s": "b&c"}, "/d?x=b%26c#b%26c"),
        ("/:splat", {"splat": "/host"}, "/host"),
        ("/:other", {"splat": "a"}, "/:other"),
        ("https://e.test/:splat", {"splat": ""}, "https://e.test/"),
    ],
)
def test_placeholders(target, values, expected):
    assert expand(target, values) == expected


@pytest.mark.parametrize(
    ("target", "query", "expected"),
    [
        ("/y", "?b=2", "/y?b=2"),
        ("/y?a=1", "?b=2", "/y?a=1"),
        ("/y#f", "?b=2", "/y?b=2#f"),
        ("/y#f?g", "?b=2", "/y?b=2#f?g"),
        ("https://e.test/", "", "https://e.test/"),
    ],
)
def test_a_query_is_passed_on_where_there_is_none(target, query, expected):
    assert with_query(target, query) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/a b", "/a%20b"),
        ("/ä", "/%C3%A4"),
        ("/a\\b", "/a%5Cb"),
        ("/a%20b", "/a%20b"),
        ("https://e.test", "https://e.test/"),
        ("https://e.test:8080?a", "https://e.test:8080/?a"),
        ("http://[::1]:80/", "http://[::1]:80/"),
    ],
)
def test_a_target_is_written_as_a_url_has_it(target, expected):
    assert checked_target(target) == expected


@pytest.mark.parametrize(
    "target",
    ["//host", "https://:splat", "https://a:splat/", "https://a@b/", "https:///x"],
)
def test_a_host_is_written_out(target):
    with pytest.raises(RuleError):
        checked_target(target)


@pytest.mark.parametrize(
    ("location", "is_same"),
    [
        *[("/a", True), ("/a/", True), ("/%61", True), ("/a#f", True), ("/a?b", False)],
        *[("/b", False), ("http://x.test/a", True), ("https://X.test:443/a", True)],
        *[("http://y.test/a", False), ("https://x.test/", False)],
    ],
)
def test_what_leads_to_itself(location, is_same):
    assert is_same_address(location, "x.test", "/a", optional_slash=True) == is_same


def test_an_address_of_ipv6_is_a_host():
    assert is_same_address("http://[::1]:80/a", "::1", "/a", optional_slash=True)
    assert not is_same_address("http://[::2]:80/a", "::1", "/a", optional_slash=True)


def test_a_slash_can_make_another_address():
    assert not is_same_address("/a/", "x.test", "/a", optional_slash=False)


RULES = """
/old* /:splat
/one/:a/:b /:b/:a
/two/* /:splat
/three/* https://other.test/:splat
/four/:a https://other.test/x?a=:a#:a
/five a=:a b=:b /:a/:b
/six a=:a /:a
/* /x:splat
"""
ODD = [
    *"/\\.%@:?#&= \t",
    "//",
    "..",
    "%2F",
    "%5C",
    "%0D%0A",
    "%00",
    "evil.test",
    "http://",
    "é",
    "a",
]


@given(
    dialect=st.sampled_from(["netlify", "cloudflare"]),
    path=st.sampled_from(["/old", "/one", "/two", "/three", "/four", "/five?a=", "/six?a=", "/"]),
    rest=st.lists(st.sampled_from(ODD), max_size=8).map("".join),
)
def test_no_request_chooses_the_host(dialect, path, rest):
    rules = SiteRules("", RULES, DIALECTS[dialect]).redirects
    try:
        found = rules.find(requested_path(path + rest, decode_slashes=True))
    except HttpError:
        return
    for match in found:
        location = expand(match.rule.to, {"a": "%2F%2Fx", "b": "x", **match.values})
        assert re.fullmatch(r"[!#-;=?-Z_a-z~]+", location)
        # As browsers read it: a backslash is a slash to them.
        url = urlsplit(urljoin("http://site.test/", location.replace("\\", "/")))
        assert url.netloc in {"site.test", "other.test"}
        assert (url.netloc == "other.test") == match.rule.to.startswith("https://other.test/")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a /b\n/b /c", {}),
        ("/a /a/", {1: "leads to itself"}),
        ("/a /b\n/b /a", {1: "in a circle"}),
        ("/x /a\n/a /b\n/b /c?q#f\n/c /a", {2: "in a circle"}),
        ("/a /b\n/b /a 200", {}),
        ("/a https://e.test/a\n", {}),
        ("/a/:id /b/:ident", {}),
        ("/a/:id /b/:name?x=:splat", {1: ":name is nothing"}),
        ("/a id=:id /b/:id", {}),
    ],
)
def test_doubtful_rules_are_reported(text, expected):
    problems = SiteRules("", text, DIALECTS["netlify"]).problems
    lines = {problem.line: problem.reason for problem in reversed(problems)}
    assert lines.keys() == expected.keys()
    assert all(expected[line] in lines[line] for line in expected)
