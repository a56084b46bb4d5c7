"""Paths of rules: what they match, whatever they contain, and in linear time."""

import re
from itertools import pairwise
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aserve.rules import netlify_redirects, patterns
from aserve.rules.matcher import RuleIndex
from aserve.rules.patterns import (
    canonical_path,
    is_canonical,
    parse_exact_path,
    parse_header_path,
    parse_redirect_path,
)
from aserve.rules.redirects_file import Redirect


def values_of(parse, pattern, path):
    """Return what the placeholders of a pattern stand for in a path; None if it does not match."""
    index = RuleIndex(
        [Redirect(1, parse(pattern), "/", 301)], optional_slash=parse is not parse_exact_path
    )
    found = index.find(canonical_path(path))
    return found[0].values if found else None


@pytest.mark.parametrize(
    ("pattern", "path", "values"),
    [  # as Netlify's own matcher, which is published as netlify-redirector 0.5.0, answers
        ("/blog/*", "/blog", {"splat": ""}),
        ("/blog/*", "/blog/", {"splat": ""}),
        ("/blog/*", "/blog/a", {"splat": "a"}),
        ("/blog/*", "/blog/a/", {"splat": "a/"}),
        ("/blog/*", "/blogs", None),
        ("/blog/*", "/Blog/a", None),
        ("/*", "/", {"splat": ""}),
        ("/*", "/a/b/", {"splat": "a/b/"}),
        ("/x", "/x/", {}),
        ("/x/", "/x", {}),
        ("/x", "/x/y", None),
        ("/x", "/X", None),
        ("/a/:b", "/a/1/", {"b": "1"}),
        ("/a/:b", "/a/", None),
        ("/a/:b", "/a/1/2", None),
        ("/a/:b", "/a/é", {"b": "%C3%A9"}),
        ("/a/:b/*", "/a/1/2/3", {"b": "1", "splat": "2/3"}),
        ("/a/:post-id", "/a/5", {"post-id": "5"}),
        ("/:a/:a", "/5/6", {"a": "5"}),
        ("/*/x", "/x", {"splat": ""}),
        ("/a/*/x", "/a/b/c/x", {"splat": "b/c"}),
        ("/a/b*", "/a/b/c", {"splat": "/c"}),
        ("/a/b*", "/a", None),
        ("/a*b", "/axb", None),
        ("/a*b", "/a*b", {}),
        ("/x-:id", "/x-5", None),
        ("/x.html", "/x", None),
        ("/", "/x", None),
    ],
)
def test_paths_of_netlify(pattern, path, values):
    assert values_of(parse_redirect_path, pattern, path) == values


@pytest.mark.parametrize(
    ("pattern", "path", "values"),
    [  # as the published tests of Cloudflare's rules engine say
        ("/test", "/test", {}),
        ("/some%20page", "/some page", {}),
        ("/$~.%20/!+-/[bo|%7Bo%7D]...()", "/$~. /!+-/[bo|{o}]...()", {}),
        ("/foo/test/*", "/foo/test/yes", {"splat": "yes"}),
        ("/foo/test/*", "/foo/test/", {"splat": ""}),
        ("/foo/test/*", "/foo/test", None),
        ("/foo/*", "/foo/", {"splat": ""}),
        ("/foo/*", "/foo", None),
        ("/foo*", "/foo", {"splat": ""}),
        ("/blog/:code/:name", "/blog/123/tricycle", {"code": "123", "name": "tricycle"}),
        ("/:code/:name.jpg", "/123/tricycle.jpg", {"code": "123", "name": "tricycle"}),
        ("/:a-:b/*", "/x-y-z/q", {"a": "x", "b": "y-z", "splat": "q"}),
        ("/x", "/x/", None),
    ],
)
def test_paths_of_cloudflare(pattern, path, values):
    assert values_of(parse_exact_path, pattern, path) == values


@pytest.mark.parametrize(
    ("parse", "pattern", "path"),
    [
        (parse_redirect_path, "/*/a/*/a/*/a/*/b", "/a" * 4_000),
        (parse_redirect_path, "/*/:x/*/:y/*/b", "/a" * 4_000),
        (parse_header_path, "/a*a*a*a*a*b", "/" + "a" * 8_000),
        (parse_exact_path, "/:a-:b-:c-:d/x", "/" + "-" * 8_000),
        (parse_exact_path, "/:a-*/:b-:c.x", "/" + "-" * 8_000),
        (parse_exact_path, "/*/:b/:c.x", "/a" * 4_000),
        (parse_exact_path, "/:a*b/:c", "/" + "b" * 8_000),
    ],
)
def test_a_path_takes_no_more_than_linear_time(parse, pattern, path):
    """With backtracking over several wildcards, these would not end."""
    assert values_of(parse, pattern, path) is None


@pytest.mark.parametrize("pattern", ["/*-:a", "/x/*:a/b", "/:a*b:c"])
def test_a_name_behind_a_star_in_its_segment_is_refused(pattern):
    """It would be tried for each end of the star: a path of 8,000 characters took two seconds."""
    with pytest.raises(ValueError, match="no :name may follow"):
        parse_exact_path(pattern)


SEGMENTS = st.lists(st.sampled_from(["a", "b", "*", ":x", "%61"]), min_size=1, max_size=5)
PATHS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=6)


def matches(pattern, path):
    """Tell whether segments match, by the definition of * and :name."""
    if not pattern:
        return not path
    first, *rest = pattern
    if first == "*":
        return any(matches(rest, path[skipped:]) for skipped in range(len(path) + 1))
    is_same = bool(path) and (first[0] == ":" or unquote_to_bytes(first).decode() == path[0])
    return is_same and matches(rest, path[1:])


@given(pattern=SEGMENTS, path=PATHS, slash=st.booleans())
def test_stars_are_any_segments(pattern, path, slash):
    text = "/" + "/".join(path) + "/" * (slash and bool(path))
    found = values_of(parse_redirect_path, "/" + "/".join(pattern), text)
    assert (found is not None) == matches(pattern, path)
    assert (values_of(parse_header_path, "/" + "/".join(pattern), text) is None) == (found is None)


@given(
    pattern=st.text("ab/*-", max_size=8).map(lambda text: "/" + text),
    path=st.text("ab/-", max_size=10).map(lambda text: "/" + text),
)
def test_a_star_of_cloudflare_is_any_characters(pattern, path):
    pattern, path = re.sub("/+", "/", pattern), re.sub("/+", "/", path)
    if pattern.count("*") > 1:
        with pytest.raises(ValueError, match="may occur once"):
            parse_exact_path(pattern)
        return
    expected = re.fullmatch(re.escape(pattern).replace(r"\*", "(.*)"), path)
    found = values_of(parse_exact_path, pattern, path)
    assert found == (expected and dict(zip(("splat",), expected.groups(), strict=False)))


@given(st.lists(st.binary(min_size=1, max_size=4), max_size=4), st.booleans())
def test_every_spelling_of_a_path_is_the_same(names, slash):
    """Names of files have no slash and no NUL, and a segment of dots alone is resolved before."""
    names = [name for name in names if b"/" not in name and name.strip(b".")]
    end = "/" * (slash and bool(names))
    escaped = "/" + "/".join("".join(f"%{byte:02x}" for byte in name) for name in names) + end
    usual = "/" + "/".join(map(quote, names)) + end
    path = canonical_path(escaped)
    assert path == canonical_path(usual) == canonical_path(path)
    assert [unquote_to_bytes(name) for name in path.strip("/").split("/") if name] == names
    assert is_canonical(path) <= (canonical_path(path) == path)
    assert not any(one == other == "/" for one, other in pairwise(path))
    assert re.fullmatch(r"[!$%&-;=@-Z_a-z~]*", path)


WORDS = st.lists(st.sampled_from([*"/ab*:.-%?#=! ", "/a", "/*", " /b", "301", "é", "//"])).map(
    "".join
)


@given(st.sampled_from([parse_redirect_path, parse_header_path]), WORDS)
@example(parse_header_path, "a/*")
def test_a_path_with_a_star_at_its_end_is_parsed_as_any_other(parse, path):
    path = f"/{path}/*"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patterns, "_pattern_below", lambda _path: None)
        expected = parse(path)
    assert parse(path) == expected


@given(WORDS)
@example("/a/b /c:d 302")
@example("/a/ /")
@example("/a /b 200")
@example("/a /b 301!")
@example("/a/.b /c#d 301 # e")
def test_a_plain_line_is_parsed_as_any_other(text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(netlify_redirects, "_parse_plain_line", lambda _number, _line: None)
        expected = netlify_redirects.parse_redirects(text)
    assert netlify_redirects.parse_redirects(text) == expected


def test_most_lines_are_parsed_by_one_match():
    assert netlify_redirects._parse_plain_line(1, "/a/b-1.html /c/:x 302")
    assert patterns._pattern_below("/a/b-1/*")
