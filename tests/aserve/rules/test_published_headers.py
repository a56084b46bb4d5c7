"""The facts of the published tests of Netlify's and Cloudflare's parsers of _headers.

https://github.com/netlify/build/tree/main/packages/headers-parser/tests,
https://github.com/netlify/primitives/tree/main/packages/headers and
https://github.com/cloudflare/workers-sdk/tree/main/packages/workers-shared/utils/tests have the
same inputs. In one thing the rows differ: lines of Set-Cookie are never joined (RFC 9110 5.3).
"""

import pytest

from aserve.policies.header_file import find_changes
from aserve.rules.dialects import CLOUDFLARE, DIALECTS, NETLIFY
from aserve.rules.headers_file import (
    HeaderLimits,
    parse_cloudflare_headers,
    parse_netlify_headers,
)
from aserve.rules.site_rules import SiteRules


def changes_of(text, path, dialect, host=""):
    """Return the lines that a file sets for a path, and the names that it removes."""
    rules = SiteRules(text, "", DIALECTS[dialect])
    changes = find_changes(rules.headers.find(path), host, rules.dialect) if rules.headers else ()
    lines = [line for change in changes for line in (*change.set, *change.append)]
    return lines, [name for change in changes for name in change.unset]


ONE = [("test", "one")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("/path\ntest: one", ONE),
        ("/path\n\n  test: one", ONE),
        ("/path\n  # comment\n  test: one", ONE),
        ("/path\r\n  test: one\r\n", ONE),
        ("/path\n  test : one", ONE),
        ("/path\n  test:   one", ONE),
        ("/path\n  test: one\n  test: two", [("test", "one, two")]),
        ("/path\n  a: one\n  A: two", [("a", "one, two")]),
        (
            "/path\n  Set-Cookie: a=1\n  Set-Cookie: b=2",
            [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")],
        ),
    ],
)
def test_netlify(text, expected):
    assert parse_netlify_headers(text).problems == []
    assert changes_of(text, "/path", NETLIFY) == (expected, [])


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("  /path\n", 1, "this path has no headers"),
        ("/path\n  test = one\n a: b", 2, "has no colon"),
        ("/path\n  : one\n a: b", 2, "the header has no name"),
        ("/path\n  test:\n a: b", 2, "the header has no value"),
        ("  test: one\n/path\n a: b", 1, "a path that begins with / must come first"),
        ("/a\n Basic-Auth: me:secret\n a: b", 2, "NOT protected by a password"),
        ("/a\n Content-Length: 1\n a: b", 2, "Content-Length cannot be set"),
        ("/a\n Transfer-Encoding: chunked\n a: b", 2, "Transfer-Encoding cannot be set"),
        ("/a\n X: ä\n a: b", 2, "beyond ASCII"),
        ("/a\n ! X-Frame-Options\n a: b", 2, "has no colon"),
    ],
)
def test_netlify_cannot_be_followed(text, line, reason):
    (problem,) = parse_netlify_headers(text).problems
    assert str(problem).startswith(f"_headers:{line}: ")
    assert reason in problem.reason


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("/", ["/"], ["/a"]),
        ("/a ", ["/a", "/a/", "/A"], ["/", "/a/b"]),
        ("/ a", ["/%20a"], ["/a"]),
        ("/a/:b", ["/a/b", "/a/c/"], ["/a", "/a/b/c"]),
        ("/*", ["/", "/a", "/a/b/"], []),
        ("/*/a", ["/a", "/b/a", "/b/c/a/"], ["/b", "/ab"]),
        ("/a/*", ["/a", "/a/", "/a/b/c"], ["/b"]),
        ("/a/*/b", ["/a/b", "/a/x/b", "/a/x/y/b/"], ["/a", "/a/x"]),
        ("/a/*/*", ["/a", "/a/b/c"], ["/b"]),
        ("/a/b*c", ["/a/bc", "/a/bxc", "/a/bx/yc/"], ["/a/b", "/a/c"]),
        ("/a/", ["/a", "/a/"], ["/a/b"]),
        ("/a.", ["/a."], ["/ab"]),
        ("//", ["/"], ["/a"]),
        ("//a//b//", ["/a/b", "/a/b/"], ["/a"]),
    ],
)
def test_paths_of_netlify(pattern, matching, others):
    index = SiteRules(f"{pattern}\n test: one", "", DIALECTS[NETLIFY]).headers
    assert [path for path in matching if not index.find(path)] == []
    assert [path for path in others if index.find(path)] == []


SITE = """
/
  X-Frame-Options: SAMEORIGIN
/*
  X-Frame-Thing: SAMEORIGIN
/static-path/*
  X-Frame-Options: DENY
  X-XSS-Protection: 1; mode=block
  cache-control: max-age=0
  cache-control: no-cache
  cache-control: no-store
  cache-control: must-revalidate
/:placeholder/index.html
  X-Frame-Options: SAMEORIGIN
/*/_next/static/chunks/*
  cache-control: public
  cache-control: max-age=31536000
  cache-control: immutable
/directory/*/test.html
  X-Frame-Options: test
/with-colon
  Custom-header: http://www.example.com
"""
THING = {"X-Frame-Thing": "SAMEORIGIN"}
STATIC = {
    **THING,
    "X-Frame-Options": "DENY",
    "X-XSS-Protection": "1; mode=block",
    "cache-control": "max-age=0, no-cache, no-store, must-revalidate",
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", {**THING, "X-Frame-Options": "SAMEORIGIN"}),
        ("/placeholder", THING),
        ("/static-path/placeholder", STATIC),
        ("/static-path", STATIC),
        ("/placeholder/index.html", {**THING, "X-Frame-Options": "SAMEORIGIN"}),
        (
            "/placeholder/_next/static/chunks/placeholder",
            {**THING, "cache-control": "public, max-age=31536000, immutable"},
        ),
        ("/directory/placeholder/test.html", {**THING, "X-Frame-Options": "test"}),
        ("/with-colon", {**THING, "Custom-header": "http://www.example.com"}),
    ],
)
def test_a_site_of_netlify(path, expected):
    lines, unset = changes_of(SITE, path, NETLIFY)
    assert dict(lines) == expected
    assert unset == []


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("/a\n  Name: Value", "/a", {"Name": "Value"}),
        ("/a\n  !Name: Value", "/a", {"!Name": "Value"}),
        ("\n/a\n\nName: Value\n\n", "/a", {"Name": "Value"}),
        ("\n   /a\n  Name         :           Value\n", "/a", {"Name": "Value"}),
        ("# This\n  /a\n  # And this.\n  Name: Value\n", "/a", {"Name": "Value"}),
        ("/b\n  A: ABBA\n  B: BABA\n", "/b", {"A": "ABBA", "B": "BABA"}),
        ("/static/*\n  X-A: public", "/static/", {"X-A": "public"}),
        ("/static/*\n  X-A: public", "/static", {}),
        ("/a\n  X-A: 1", "/a/", {}),
        ("/a\n  X-A: 1", "/A", {}),
        ("/some page with spaces\n  valid: yup", "/some%20page%20with%20spaces", {"valid": "yup"}),
        ("/some%20page\n  valid: yup", "/some%20page", {"valid": "yup"}),
        ("/;`me\n  valid: yup", "/;%60me", {"valid": "yup"}),
        ("/nons:/&@%+~{}ense\n  valid: yup", "/nons:/&@%25+~%7B%7Dense", {"valid": "yup"}),
        ("/yeah.com\n  valid: yup", "/yeah.com", {"valid": "yup"}),
        ("/:a/*\n  X-A: :a of :splat", "/x/y/z", {"X-A": "x of y/z"}),
    ],
)
def test_cloudflare(text, path, expected):
    assert parse_cloudflare_headers(text).problems == []
    lines, unset = changes_of(text, path, CLOUDFLARE)
    assert dict(lines) == expected
    assert unset == []


def test_cloudflare_removes_headers():
    lines, unset = changes_of("/a\n  Name: Value\n  ! Place", "/a", CLOUDFLARE)
    assert (lines, unset) == ([("Name", "Value")], ["Place"])


def test_cloudflare_adds_to_what_an_earlier_block_has_set():
    text = "/*\n X-A: 1\n X-B: 1\n/a\n X-A: 2\n! X-B\n"
    rules = SiteRules(text, "", DIALECTS[CLOUDFLARE])
    one, other = find_changes(rules.headers.find("/a"), "", rules.dialect)
    assert (one.set, one.append) == ((("X-A", "1"), ("X-B", "1")), ())
    assert (other.set, other.append, other.unset) == ((), (("X-A", "2"),), ("X-B",))


HOSTS = """
https://example.com
  a: a
https://example.com/
  b: b
https://example.com/blog
  c: c
/blog
  d:d
https://:subdomain.example.*/path
  e: :subdomain of :splat
"""


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        ("example.com", "/", {"a": "a", "b": "b"}),
        ("example.com", "/blog", {"c": "c", "d": "d"}),
        ("other.test", "/blog", {"d": "d"}),
        ("www.example.co.uk", "/path", {"e": "www of co.uk"}),
        ("example.com", "/path", {}),
    ],
)
def test_cloudflare_has_blocks_for_hosts(host, path, expected):
    assert parse_cloudflare_headers(HOSTS).problems == []
    assert dict(changes_of(HOSTS, path, CLOUDFLARE, host)[0]) == expected


NOT_USED = "the path above is not used, and neither is this"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://*.pages.dev/*\n  X-Robots-Tag: noindex", {1: "one *", 2: NOT_USED}),
        ("https://*.pages.dev/:splat\n  Test: value", {1: "* is :splat already", 2: NOT_USED}),
        ("/a/*/b/*/c/*\n  Test: value", {1: "one *", 2: NOT_USED}),
        ("/:a/:a\n  Test: value", {1: "may occur once", 2: NOT_USED}),
        ("c\nAccess-Control-Allow-Origin: *", {1: "must come first", 2: "must come first"}),
        (
            "/b\n  I'm invalid!\n  !x-content-type\n  But: I'm okay!\n  ! Content-Type: a/b",
            {2: "has no colon", 3: "has no colon", 5: "is not the name of a header"},
        ),
        ("http://nah.com/blog\n  invalid: things", {1: "is for /path or https", 2: NOT_USED}),
        ("https://*.n\xe4h.com/\n  invalid: 3", {1: "written in ASCII", 2: NOT_USED}),
        ("https://nah.com:8080\n  invalid: also", {1: "without its port", 2: NOT_USED}),
        ("https://nah.com:8080/blog\n  invalid: 2", {1: "without its port", 2: NOT_USED}),
        ("/a\nnah.com\n:\ntest:\n X: y", {2: "no colon", 3: "no name", 4: "no value"}),
        ("/a\n/b\n X: y\n/c", {1: "this path has no headers", 4: "this path has no headers"}),
        (f"/a\n X: y\n {'a' * 1_001}: {'b' * 1_001}", {3: "a line may have 2,000 characters"}),
        ("/a\n X: y\n ! Vary", {3: "Vary cannot be removed"}),
    ],
)
def test_cloudflare_cannot_be_followed(text, expected):
    problems = parse_cloudflare_headers(text).problems
    assert [problem.line for problem in problems] == [*expected]
    assert [part in one.reason for one, part in zip(problems, expected.values(), strict=True)] == [
        True for _ in expected
    ]


BLOCKS = "".join(f"/a/{number}\nx-index: {number}\n" for number in range(150))


def test_cloudflare_has_a_most_of_rules():
    """A hundred and one, since it looks when the next path comes."""
    parsed = parse_cloudflare_headers(BLOCKS)
    assert [block.line for block in parsed.blocks] == [*range(1, 203, 2)]
    assert [str(problem) for problem in parsed.problems] == [
        "_headers:203: only 100 paths are used: none from here on"
    ]
    assert len(parse_cloudflare_headers(BLOCKS, HeaderLimits(3_000, 200)).blocks) == 150
