"""Globs of URL paths."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.http.path_globs import GlobError, compile_glob, covers, is_everything, unmatched_part


@pytest.mark.parametrize(
    ("glob", "matching", "others"),
    [
        ("/a.txt", ["/a.txt"], ["/a.txt/", "/A.txt", "/aXtxt", "/b/a.txt"]),
        ("/", ["/"], ["/a", ""]),
        ("/docs/*", ["/docs/", "/docs/a", "/docs/a/b"], ["/docs", "/docsy/a", "/x/docs/a"]),
        ("*.js", ["/a.js", "/a/b.js", "/.js"], ["/a.jsx", "/js"]),
        ("*/sw.js", ["/sw.js", "/a/sw.js"], ["/asw.js"]),
        ("/a*b*c", ["/abc", "/a/b/c", "/axbbcxc"], ["/ab", "/acb", "/abcd"]),
        ("*.{js,css}", ["/a.js", "/a.css"], ["/a.", "/a.jscss", "/a.{js,css}"]),
        ("/{a,}*.x", ["/a.x", "/.x", "/b.x"], ["/a.y"]),
        ("*{ab,a}*b", ["/ab", "/xaab"], ["/b", "/a"]),
        ("/*{abcd,b}*cd", ["/abcd", "/xbcd"], ["/abc", "/acd"]),
        ("/{a,ab}{b,}*", ["/a", "/ab", "/abb/x"], ["/b"]),
        ("/ü*", ["/ü", "/üa"], ["/u"]),
        ("/a[b].(c)+?", ["/a[b].(c)+?"], ["/ab.cc"]),
    ],
)
def test_a_glob_matches_whole_paths(glob, matching, others):
    match = compile_glob(glob).fullmatch
    assert [path for path in matching if not match(path.encode())] == []
    assert [path for path in others if match(path.encode())] == []


@pytest.mark.parametrize("glob", ["*", "/*", "**", "/**"])
def test_everything_is_everything(glob):
    assert is_everything(glob)
    assert all(map(compile_glob(glob).fullmatch, (b"/", b"/a/b", b"", b"/\n")))


@pytest.mark.parametrize("glob", ["/", "/a*", "*.js", "", "a"])
def test_most_globs_are_not(glob):
    assert not is_everything(glob)


@pytest.mark.parametrize(
    "glob",
    ["", "a", "{/a,/b}", "/{a", "/a}", "X-Foo:", "/" + "{a,aa}" * 10, "*{a,b}" * 11],
)
def test_a_glob_that_matches_nothing_is_refused(glob):
    with pytest.raises(GlobError):
        compile_glob(glob)


BRACES = "{ab,b}", "{a,}", "{a,aab}"


@given(
    st.sampled_from("/*"),
    st.lists(st.sampled_from([*"ab*.", *BRACES]), max_size=9).map("".join),
    st.text("ab./\n", max_size=12),
)
def test_a_star_is_anything(begin, rest, path):
    glob = begin + rest
    reference = ".*".join(map(re.escape, glob.split("*")))
    for braces in BRACES:
        either = "(?:" + braces[1:-1].replace(",", "|") + ")"
        reference = reference.replace(re.escape(braces), either)
    if is_everything(glob):
        reference = ".*"
    expected = re.fullmatch(reference, path, re.DOTALL)
    assert bool(compile_glob(glob).fullmatch(path.encode())) == bool(expected)


def test_many_stars_take_no_more_than_linear_time():
    """With backtracking this would not end."""
    assert not compile_glob("/*a*a*a*a*a*a*a*a*ab*c").fullmatch(b"/" + b"a" * 8_000)


stars = st.text("/ab*", max_size=5).map("/{}".format)
pieces = st.sampled_from(["/", "a", "b", "*", "{a,b}", "{b,}", "{/,a}"])
path_globs = st.lists(pieces, max_size=5).map(lambda parts: "/" + "".join(parts))


@given(stars, path_globs, st.text("/ab", max_size=5).map("/{}".format))
def test_what_a_covered_glob_matches_the_other_matches(glob, other, path):
    if covers(glob, other) and compile_glob(other).fullmatch(path.encode()):
        assert compile_glob(glob).fullmatch(path.encode())


@pytest.mark.parametrize(
    ("glob", "other", "is_covered"),
    [
        ("/a/*", "/a/b", True),
        ("/a/*", "/a/*/b/{c,d}", True),
        ("/{a,b}", "/{a,b}", True),
        ("/{a,b}", "/a", True),
        ("/a/b", "/a/*", False),
        ("*.js", "/a.*", False),
        ("/*a*", "/{a,b}", False),
    ],
)
def test_a_glob_covers_another(glob, other, is_covered):
    assert covers(glob, other) == is_covered


@pytest.mark.parametrize(
    ("glob", "part"),
    [
        ("/a%20b", "%20"),
        ("//a", "//"),
        ("/a/../b", "/.."),
        ("/a/.", "/."),
        ("/a%2Fb", ""),
        ("/100%", ""),
        ("/.well-known/*", ""),
        ("*/..a", ""),
    ],
)
def test_what_is_in_no_path(glob, part):
    assert unmatched_part(glob) == part
